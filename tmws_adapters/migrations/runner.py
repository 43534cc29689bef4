"""Runs the revisions: a change of the schema is one transaction, which takes a lock before it reads the revision."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from alembic import command, context, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.backup import Tell, back_up
from tmws_adapters.migrations.compatibility import remember
from tmws_adapters.migrations.connecting import (
    LOCK_WAIT,
    configured_path,
    connected,
    connected_as_configured,
    connected_server,
)
from tmws_adapters.migrations.file import claim
from tmws_adapters.migrations.standing import Change, Standing, refusal, standing_of
from tmws_core.errors import NoFormerSchema, SchemaDirty

logger = logging.getLogger("tmws.migrations")

_NOT_ALLOWED = "42501"
"""The one SQLSTATE of class 42, of what a statement names, that is no fault of the schema."""


_LAST = "tmws.last"
"""Under which a connection holds what `execute_last` was given."""

_HOLDS = "SELECT EXISTS (SELECT 1 FROM memories_v2) OR EXISTS (SELECT 1 FROM agents)"
"""Whether a database holds anything; every revision has these tables."""


_LOCK_WRITERS = """
    DO $$ DECLARE part text; BEGIN
        FOREACH part IN ARRAY ARRAY['agents', 'memories_v2', 'agent_belongings'] LOOP
            part := quote_ident(current_schema()) || '.' || part;
            IF to_regclass(part) IS NOT NULL THEN
                EXECUTE 'LOCK TABLE ' || part || ' IN SHARE ROW EXCLUSIVE MODE';
            END IF;
        END LOOP;
    END $$
"""
"""Locks against writers, not against readers, what every unit of work begins with, in the order of its writes.

Whoever writes to any other table of memories has written to one of these before: a revision that locks those first
waits for a writer that waits for it.
"""


def upgrade(path: Path, *, lock_wait: timedelta = LOCK_WAIT, tell: Tell = logger.debug) -> Change:
    """Bring the schema of a SQLite file to the newest revision, in one transaction; what it holds is copied first.

    Does nothing if another process did it meanwhile, or if the schema is a newer one that this version may use. The
    file is unchanged when it raises: SchemaTooNew for a newer revision, SchemaDirty for a schema that is not what its
    revision says, another StorageUnavailable if no copy can be made, and the driver's own sqlite3.Error otherwise.
    """
    with _driver_errors(), connected(path, lock_wait=lock_wait) as connection:
        return _upgrade(connection, path, tell)


def upgrade_server(url: str, *, lock_wait: timedelta = LOCK_WAIT, tell: Tell = logger.debug) -> Change:
    """Bring the schema of a PostgreSQL database to the newest revision, in one transaction.

    Any number of processes may do so at once: one does it, the others wait. Raises as above, StorageBusy if they wait
    too long, and the driver's own psycopg.Error otherwise; the database is unchanged then.
    """
    with _driver_errors(), connected_server(url, lock_wait=lock_wait) as connection:
        return _upgrade(connection, None, tell)


def downgrade(path: Path, *, lock_wait: timedelta = LOCK_WAIT, tell: Tell = logger.debug) -> Change:
    """Take back the last revision of a SQLite file, in one transaction; what it holds is copied first.

    Raises as an upgrade does, and NoFormerSchema where there is no revision before.
    """
    with _driver_errors(), connected(path, lock_wait=lock_wait) as connection:
        return _downgrade(connection, path, tell)


def downgrade_server(url: str, *, lock_wait: timedelta = LOCK_WAIT, tell: Tell = logger.debug) -> Change:
    """Take back the last revision of a PostgreSQL database, in one transaction; raises as above."""
    with _driver_errors(), connected_server(url, lock_wait=lock_wait) as connection:
        return _downgrade(connection, None, tell)


def newest() -> str | None:
    """Return the newest revision among the scripts."""
    return scripts().get_current_head()


def scripts() -> ScriptDirectory:
    """Return the revisions."""
    return ScriptDirectory.from_config(configuration(None))


def migrate(connection: Connection) -> None:
    """Run inside Alembic's environment: apply the revisions on this connection, and mark the database with them."""
    applied: list[str] = []
    context.configure(
        connection=connection,
        transactional_ddl=True,
        on_version_apply=lambda heads, **_: applied.append(next(iter(heads))),
    )
    context.run_migrations()
    finish(connection)
    if applied:
        remember(connection, context.script, applied[-1])


def migrate_as_configured() -> None:
    """Run inside Alembic's environment where the `alembic` command started it; a file is copied before it changes."""
    with connected_as_configured() as connection:
        options = context.config.cmd_opts
        work = getattr(options, "cmd", (None,))[0]
        if work in (command.upgrade, command.downgrade) and connection.dialect.name == "sqlite":
            revision = _standing(connection).revision
            if revision is None:
                claim(configured_path())
            target = _target(revision, str(getattr(options, "revision", "")))
            if target != revision:
                _back_up(connection, configured_path(), target, logger.debug)
        migrate(connection)


def execute_last(statements: tuple[str, ...]) -> None:
    """Execute on PostgreSQL, once all revisions have done the rest, what keeps readers out until the end."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.info.setdefault(_LAST, []).extend(statements)


def finish(connection: Connection) -> None:
    """Execute what revisions have left for the end."""
    for statement in connection.info.pop(_LAST, ()):
        connection.exec_driver_sql(statement)


def execute(statements: Mapping[str, tuple[str, ...]]) -> None:
    """Execute the statements of the connection's dialect as they are; called by the revisions.

    On PostgreSQL whoever is writing finishes first, and whoever wants to write waits until the end.
    """
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_LOCK_WRITERS)
    for statement in statements[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def configuration(connection: Connection | None) -> Config:
    """Return what Alembic's commands need to work on this connection."""
    configured = Config()
    configured.set_main_option("script_location", "tmws_adapters:migrations")
    configured.set_main_option("path_separator", "os")
    configured.set_main_option("sourceless", "true")  # some images keep the bytecode alone
    configured.attributes["connection"] = connection
    return configured


def known() -> list[str]:
    """Return the revisions that this version knows, from the first to the newest."""
    return [script.revision for script in scripts().walk_revisions()][::-1]


def _upgrade(connection: Connection, path: Path | None, tell: Tell) -> Change:
    standing = _admitted(connection)
    before = standing.revision
    if before is not None and standing.state != "older":
        return Change(before=before, after=before)
    if path is not None and before is None:
        claim(path)
    backup = _back_up(connection, path, HEAD, tell)
    tell(f"changing the schema from revision {before or 'none'} to {HEAD}")
    with _dirt(connection, before):
        command.upgrade(configuration(connection), "head")
    if before is not None:
        logger.info("✅ Schema changed from revision %s to %s%s", before, HEAD, f", copy: {backup}" if backup else "")
    return Change(before=before, after=HEAD, backup=backup)


def _downgrade(connection: Connection, path: Path | None, tell: Tell) -> Change:
    standing = _admitted(connection)
    before, after = standing.revision, None
    if before is None:
        reason, hint = "there is no schema yet", "Run `tmws db upgrade` to make one"
    elif before > HEAD:
        reason, hint = f"revision {before} is a newer version's", "Let that version take it back"
    else:
        reason, hint = f"revision {before} is the first one", "Delete the database to have none"
        after = scripts().get_revision(before).down_revision
    if before is None or not isinstance(after, str):
        raise NoFormerSchema(part=standing.dialect, reason=reason, hint=hint)
    backup = _back_up(connection, path, after, tell)
    tell(f"changing the schema from revision {before} back to {after}")
    with _dirt(connection, before):
        command.downgrade(configuration(connection), after)
    return Change(before=before, after=after, backup=backup)


def _admitted(connection: Connection) -> Standing:
    """Return how the database stands, unless this version may not use it."""
    standing = _standing(connection)
    if standing.revision is not None and standing.revision not in known():
        if standing.state != "newer":
            raise refusal(standing)
        logger.warning("⚠️ The schema is of revision %s, a newer version's that this one may use", standing.revision)
    return standing


def _standing(connection: Connection) -> Standing:
    driver: Any = connection.connection.driver_connection
    return standing_of(connection.dialect.name, "", driver)


def _back_up(connection: Connection, path: Path | None, target: str, tell: Tell) -> Path | None:
    """Copy the file of a connection, unless nothing is in it that somebody stored."""
    revision = _standing(connection).revision
    if path is None or revision is None:
        return None
    with _dirt(connection, revision):
        (holds,) = connection.exec_driver_sql(_HOLDS).one()
    return back_up(path, target, tell) if holds else None


def _target(current: str | None, wanted: str) -> str:
    """Return the revision that the `alembic` command was asked for, for the name of the copy."""
    order = known()
    if wanted.startswith(("+", "-")) and wanted[1:].isdecimal() and current in order:
        place = order.index(current) + int(wanted)
        return order[min(max(place, 0), len(order) - 1)]
    return wanted if wanted in order else order[-1]


@contextmanager
def _dirt(connection: Connection, revision: str | None) -> Iterator[None]:
    """Raise as SchemaDirty what happens to statements about a schema that is not what its revision says."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None) or ""
        # The primary code of all that is wrong with a statement itself is 1.
        if getattr(error.orig, "sqlite_errorcode", None) != 1 and (not code.startswith("42") or code == _NOT_ALLOWED):
            raise
        said = str(error.orig).splitlines()[0]
        raise SchemaDirty(
            part=connection.dialect.name,
            reason=f"the schema is not what revision {revision or 'none'} is ({said}); nothing was changed",
            hint="Run `tmws db check`, undo what was changed by hand, or restore the last backup",
        ) from None


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Raise the errors of the driver as they are, not as those of SQLAlchemy."""
    try:
        yield
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from error
