"""Runs the revisions: an upgrade is one transaction, which takes the write lock before it reads the revision."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alembic import command, context, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tmws_adapters.migrations.file import writable_file
from tmws_core.errors import ConfigurationError, SchemaTooNew

LOCK_WAIT = timedelta(seconds=30)
"""How long an upgrade waits for another process's transaction, which may be the same upgrade."""

URL_SETTING = "TMWS_DATABASE_URL"
HOME_SETTING = "TMWS_HOME"


def upgrade(path: Path, *, lock_wait: timedelta = LOCK_WAIT) -> None:
    """Bring the schema of a SQLite file to the newest revision, in one transaction.

    Does nothing if another process did it meanwhile. Raises SchemaTooNew for a revision that this version does not
    know, and the driver's own sqlite3.Error otherwise; the file is unchanged then.
    """
    try:
        with connected(path, lock_wait=lock_wait) as connection:
            command.upgrade(_configuration(connection), "head")
    except CommandError as error:
        raise SchemaTooNew(
            part="sqlite",
            reason="the database was written by a newer version of TMWS",
            hint="Install the newest version of TMWS, or open another TMWS_HOME",
        ) from error
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from error


def newest() -> str | None:
    """Return the newest revision among the scripts."""
    return ScriptDirectory.from_config(_configuration(None)).get_current_head()


@contextmanager
def connected(path: Path, *, lock_wait: timedelta = LOCK_WAIT) -> Iterator[Connection]:
    """Yield a connection inside a transaction that holds the write lock; commit it at the end.

    A missing file is created.
    """
    writable_file(path)
    engine = create_engine(
        URL.create("sqlite", database=str(path.absolute())),
        poolclass=NullPool,
        connect_args={"timeout": lock_wait.total_seconds()},
    )
    event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def migrate(connection: Connection) -> None:
    """Run inside Alembic's environment: apply the revisions on this connection."""
    context.configure(connection=connection, transactional_ddl=True)
    context.run_migrations()


def execute(statements: Mapping[str, tuple[str, ...]]) -> None:
    """Execute the statements of the connection's dialect as they are; called by the revisions."""
    connection = op.get_bind()
    for statement in statements[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def configured_path() -> Path:
    """Return the SQLite file that the environment names, for the `alembic` command."""
    url = os.environ.get(URL_SETTING)
    if not url:
        return Path(os.environ.get(HOME_SETTING) or Path.home() / ".tmws") / "tmws.db"
    parts = urlsplit(url)
    if parts.scheme not in {"sqlite", "sqlite+aiosqlite"} or parts.netloc or not parts.path[1:]:
        raise ConfigurationError(
            setting=URL_SETTING,
            reason="does not name a SQLite file",
            hint="Write sqlite:////absolute/path/tmws.db",
        )
    return Path(unquote(parts.path[1:]))


def _configuration(connection: Connection | None) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", "tmws_adapters:migrations")
    configuration.attributes["connection"] = connection
    return configuration


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
