"""Connections for changing a schema: each is one transaction, which takes the lock of upgrades before it reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tmws_adapters.migrations.belonging import looked_at
from tmws_adapters.migrations.file import writable_file
from tmws_adapters.paths import located, path_of
from tmws_adapters.variables import refuse_unexpanded
from tmws_core.errors import ConfigurationError, StorageBusy

if TYPE_CHECKING:
    import psycopg

LOCK_WAIT = timedelta(seconds=30)
"""How long an upgrade waits for another process's transaction, which may be the same upgrade."""

SERVER_LOCK = 0x746D_7773_0001
"""The advisory lock of an upgrade on PostgreSQL, in the range of this program's locks ("tmws" in ASCII)."""

SERVER_SCHEMES = ("postgresql://", "postgres://")
"""What the URL of a PostgreSQL database begins with, as libpq understands it."""

CONNECT_TIMEOUT = 10
"""Seconds to wait for the server, unless the URL says otherwise; a failover takes less."""

URL_SETTING = "TMWS_DATABASE_URL"
HOME_SETTING = "TMWS_HOME"

_LOCK_NOT_AVAILABLE = "55P03"
"""The SQLSTATE of a lock that was waited for in vain."""


@contextmanager
def connected(path: Path, *, lock_wait: timedelta = LOCK_WAIT) -> Iterator[Connection]:
    """Yield a connection inside a transaction that holds the write lock; commit it at the end.

    A missing file is created. Raises SchemaDirty for the file of another program, which is left as it is.
    """
    writable_file(path)
    looked_at(path, lambda _: None, lock_wait.total_seconds())
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
    """Yield a connection inside a transaction that holds the lock of upgrades; commit it at the end.

    Raises StorageBusy if another process holds that lock for longer than `lock_wait`.
    """
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect_server(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {lock_wait // timedelta(milliseconds=1)}")
            # The driver reads times in no other form, and a revision reads those of the audit log.
            connection.exec_driver_sql("SET LOCAL datestyle = 'ISO'")
            # A revision changes what everybody stored; the policies count for the owner of the tables, too.
            connection.exec_driver_sql("SET LOCAL tmws.audience = 'all:'")
            _lock_server(connection, lock_wait)
            yield connection
    finally:
        engine.dispose()


def connect_server(url: str, *, autocommit: bool = False) -> "psycopg.Connection":
    """Open a connection of the driver's own to the primary among the hosts of a URL; raises its psycopg.Error."""
    import psycopg  # noqa: PLC0415 - a store in a file does without
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415

    defaults: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "target_session_attrs": "primary"}
    parameters = defaults | conninfo_to_dict(url)
    return psycopg.connect(make_conninfo("", **parameters), autocommit=autocommit)


@contextmanager
def connected_as_configured() -> Iterator[Connection]:
    """Yield such a connection to the database that the environment names, for the `alembic` command."""
    url = _configured_url()
    connecting = connected_server(url) if url.startswith(SERVER_SCHEMES) else connected(configured_path())
    with connecting as connection:
        yield connection


@contextmanager
def connected_nowhere() -> Iterator[Connection]:
    """Yield a connection to an empty SQLite database in memory, which ends with the block."""
    engine = create_engine("sqlite://", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def configured_path() -> Path:
    """Return the SQLite file that the environment names."""
    url = _configured_url()
    if not url:
        home = located(os.environ.get(HOME_SETTING, "").strip() or "~/.tmws")
        if home is None:
            raise ConfigurationError(setting=HOME_SETTING, reason="leads nowhere", hint="Give an absolute path")
        return Path(home) / "tmws.db"
    path = path_of(url)
    if path is None:
        raise ConfigurationError(
            setting=URL_SETTING,
            reason="does not name a SQLite file",
            hint="Write sqlite:////absolute/path/tmws.db",
        )
    return Path(path)


def _configured_url() -> str:
    url = os.environ.get(URL_SETTING, "").strip()
    refuse_unexpanded(URL_SETTING, url)
    return url


def _begin_immediate(connection: Connection) -> None:
    # Whoever opens the store next copies the log; a process that writes beside this one must not meet that.
    connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 0")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lock_server(connection: Connection, lock_wait: timedelta) -> None:
    try:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SERVER_LOCK})")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise StorageBusy(
            part="postgresql",
            reason=f"another process has been changing the schema for {lock_wait.total_seconds():g} s",
            hint="Wait until it is done, and try again; pg_locks tells who holds the advisory lock",
        ) from None
