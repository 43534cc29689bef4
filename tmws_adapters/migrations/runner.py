"""Runs the revisions: an upgrade is one transaction, which takes a lock before it reads the revision."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
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

SERVER_LOCK = 0x746D_7773_0001
"""The advisory lock of an upgrade on PostgreSQL, in the range of this program's locks ("tmws" in ASCII)."""

SERVER_SCHEMES = ("postgresql://", "postgres://")
"""What the URL of a PostgreSQL database begins with, as libpq understands it."""

URL_SETTING = "TMWS_DATABASE_URL"
HOME_SETTING = "TMWS_HOME"


def upgrade(path: Path, *, lock_wait: timedelta = LOCK_WAIT) -> None:
    """Bring the schema of a SQLite file to the newest revision, in one transaction.

    Does nothing if another process did it meanwhile. Raises SchemaTooNew for a revision that this version does not
    know, and the driver's own sqlite3.Error otherwise; the file is unchanged then.
    """
    _upgrade(connected(path, lock_wait=lock_wait), "sqlite", "open another TMWS_HOME")


def upgrade_server(url: str, *, lock_wait: timedelta = LOCK_WAIT) -> None:
    """Bring the schema of a PostgreSQL database to the newest revision, in one transaction.

    Any number of processes may do so at once: one does it, the others wait. Raises SchemaTooNew as above, and the
    driver's own psycopg.Error otherwise; the database is unchanged then.
    """
    _upgrade(connected_server(url, lock_wait=lock_wait), "postgresql", "name another database in TMWS_DATABASE_URL")


def _upgrade(connecting: AbstractContextManager[Connection], part: str, remedy: str) -> None:
    try:
        with connecting as connection:
            command.upgrade(_configuration(connection), "head")
    except CommandError as error:
        raise SchemaTooNew(
            part=part,
            reason="the database was written by a newer version of TMWS",
            hint=f"Install the newest version of TMWS, or {remedy}",
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


@contextmanager
def connected_server(url: str, *, lock_wait: timedelta = LOCK_WAIT) -> Iterator[Connection]:
    """Yield a connection inside a transaction that holds the lock of upgrades; commit it at the end."""
    import psycopg  # noqa: PLC0415 - a store in a file does without

    def connect() -> "psycopg.Connection":
        return psycopg.connect(url)

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {lock_wait // timedelta(milliseconds=1)}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SERVER_LOCK})")
            yield connection
    finally:
        engine.dispose()


@contextmanager
def connected_as_configured() -> Iterator[Connection]:
    """Yield such a connection to the database that the environment names, for the `alembic` command."""
    url = os.environ.get(URL_SETTING, "")
    connecting = connected_server(url) if url.startswith(SERVER_SCHEMES) else connected(configured_path())
    with connecting as connection:
        yield connection


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
    """Return the SQLite file that the environment names."""
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
