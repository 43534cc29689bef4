"""Alembic's entry: run the revisions on the connection of the runner, or on the database of the environment."""

from alembic import context

from tmws_adapters.migrations.runner import migrate, migrate_as_configured

connection = context.config.attributes.get("connection")
if connection is not None:
    migrate(connection)
else:
    migrate_as_configured()
