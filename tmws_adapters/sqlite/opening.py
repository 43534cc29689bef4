"""Opening a SQLite file as a store."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import anyio.to_thread
import attrs

from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.belonging import looked_at
from tmws_adapters.migrations.file import writable_file
from tmws_adapters.migrations.standing import standing_of
from tmws_adapters.sql.origin import check_arrived
from tmws_adapters.sqlite.connections import Opener, Synchronous, open_connections
from tmws_adapters.sqlite.errors import PART, file_error, translated
from tmws_adapters.sqlite.holders import SqliteHolders
from tmws_adapters.sqlite.lexical import SqliteLexical
from tmws_adapters.sqlite.license import SqliteLicenseClock
from tmws_adapters.sqlite.migration import SqliteModels
from tmws_adapters.sqlite.scopes import Scopes
from tmws_adapters.sqlite.storage import SqliteStorage
from tmws_adapters.sqlite.tables import found_origin
from tmws_adapters.sqlite.tokens import Tokens

BUSY_TIMEOUT = timedelta(seconds=30)
"""How long a writer waits for another process; four writing processes with real fsyncs waited 4 s at worst."""


@attrs.frozen
class SqliteStore:
    """An open SQLite file; it has no index of vectors of its own."""

    storage: SqliteStorage
    lexical: SqliteLexical
    models: SqliteModels
    license_clock: SqliteLicenseClock
    holders: SqliteHolders
    vectors: None = None
    housekeeping: None = None
    beside: Mapping[str, Callable[[], Awaitable[int | None]]] = attrs.field(factory=dict)


@asynccontextmanager
async def open_sqlite(
    path: Path, *, busy_timeout: timedelta = BUSY_TIMEOUT, synchronous: Synchronous = "FULL"
) -> AsyncIterator[SqliteStore]:
    """Open a store, creating the file or bringing its schema up to date first.

    A file of an older schema is migrated, one of a newer schema is refused. `synchronous` is "FULL" where an
    acknowledged write must survive a power cut. Raises a StorageUnavailable.
    """
    opener = Opener(path=path, busy_timeout=busy_timeout, synchronous=synchronous)
    path = opener.path
    await anyio.to_thread.run_sync(_prepare, path, busy_timeout)
    async with open_connections(opener) as connections:
        scopes = Scopes()
        with closing(SqliteHolders(opener)) as holders, closing(Tokens()) as tokens:
            yield SqliteStore(
                SqliteStorage(path, connections, scopes),
                SqliteLexical(connections.lookups, scopes, tokens),
                SqliteModels(path, connections),
                SqliteLicenseClock(connections),
                holders,
            )


def _prepare(path: Path, busy_timeout: timedelta) -> None:
    try:
        writable_file(path)
    except OSError as error:
        raise file_error(error) from error
    with translated():
        if looked_at(path, _revision, busy_timeout.total_seconds()) != HEAD:
            # Alembic takes 0.2 s to import, and is needed once in the life of a schema.
            from tmws_adapters.migrations.runner import upgrade  # noqa: PLC0415

            upgrade(path, lock_wait=busy_timeout)
        with closing(sqlite3.connect(path, timeout=busy_timeout.total_seconds())) as connection:
            check_arrived(found_origin(connection), PART)


def _revision(connection: sqlite3.Connection) -> str | None:
    return standing_of(PART, sqlite3.sqlite_version, connection).revision
