"""Alembic's entry: run the revisions on the connection of the runner, or on the database of the environment."""

from alembic import context

from tmws_adapters.migrations.runner import connected_as_configured, migrate

connection = context.config.attributes.get("connection")
if connection is not None:
    migrate(connection)
else:
    with connected_as_configured() as own:
        migrate(own)
