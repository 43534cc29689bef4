"""Opening a PostgreSQL database as a store."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import anyio.to_thread
import attrs
import psycopg

from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.belonging import TABLES, judge
from tmws_adapters.postgres.agents import PostgresHolders, PostgresLicenseClock
from tmws_adapters.postgres.connections import FAILOVER, Connections, Reading, open_connections
from tmws_adapters.postgres.errors import PART, connection_error
from tmws_adapters.postgres.frequencies import Frequencies
from tmws_adapters.postgres.housekeeping import Housekeeping
from tmws_adapters.postgres.lexical import PostgresLexical
from tmws_adapters.postgres.locks import PARTITIONS
from tmws_adapters.postgres.migration import PostgresModels
from tmws_adapters.postgres.opener import Opener
from tmws_adapters.postgres.partitions import make_partitions
from tmws_adapters.postgres.positions import timeline_of
from tmws_adapters.postgres.replicas import Replicas, open_replicas
from tmws_adapters.postgres.sizes import Sizes
from tmws_adapters.postgres.storage import PostgresStorage
from tmws_adapters.postgres.tables import found_origin
from tmws_adapters.postgres.vectors import PgVectorIndex
from tmws_adapters.sql.origin import check_arrived
from tmws_core.errors import StorageReadOnly, StorageUnavailable

STATEMENT_TIMEOUT = timedelta(seconds=30)
"""How long a statement may run: half of the default TMWS_REQUEST_TIMEOUT."""

POOL_SIZE, MAX_OVERFLOW = 20, 40
"""Connections that stay open, and those that are opened beyond them while they are needed."""

OLDEST_SERVER = 17
"""The oldest major version of PostgreSQL that is supported."""

OLDEST_VECTOR = (0, 8)
"""The first version of pgvector that goes on searching its index until enough rows pass a filter."""

_STATE = """
    SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
        (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'),
        (SELECT extnamespace::regnamespace::text FROM pg_extension
            WHERE extname = 'vector' AND to_regtype('vector') IS NULL),
        current_user, current_setting('search_path'), to_regclass('alembic_version') IS NOT NULL
"""


@attrs.frozen
class PostgresStore:
    """An open PostgreSQL database."""

    storage: PostgresStorage
    lexical: PostgresLexical
    vectors: PgVectorIndex
    models: PostgresModels
    holders: PostgresHolders
    license_clock: PostgresLicenseClock
    housekeeping: Housekeeping
    replicas: Replicas

    @property
    def beside(self) -> dict[str, Callable[[], Awaitable[int | None]]]:
        """Return what tells by how many bytes each replica lags, by its name; PartUnavailable if it is left out."""
        return {each.name: partial(each.lag, self.replicas.primary) for each in self.replicas.members}


@asynccontextmanager
async def open_postgres(
    url: str,
    *,
    pool_size: int = POOL_SIZE,
    max_overflow: int = MAX_OVERFLOW,
    patience: timedelta = STATEMENT_TIMEOUT,
    replicas: Sequence[str] = (),
    failover: timedelta = FAILOVER,
) -> AsyncIterator[PostgresStore]:
    """Open a store, bringing the schema of the database up to date first.

    A schema that is older is migrated, a newer one is refused. `patience` is how long a statement may run, and how long
    one waits for a connection where all are in use; `failover`, how long one waits for a server that takes changes,
    once the store is open. `replicas` are URLs of servers to read from. Raises a StorageUnavailable.
    """
    opener = Opener(url=url, statement_timeout=patience)
    sizes = {"pool_size": pool_size, "max_overflow": max_overflow}
    async with (
        open_connections(opener, **sizes, patience=patience) as connections,
        open_replicas(replicas, connections, **sizes, patience=patience) as reading,
    ):
        await _prepare(connections, patience)
        timeline = await timeline_of(connections)
        connections.await_failover(failover)
        yield _store(connections, reading, timeline)


def _store(connections: Connections, replicas: Replicas, timeline: str) -> PostgresStore:
    frequencies, housekeeping = Frequencies(), Housekeeping(connections)
    reading: Reading = replicas if replicas.members else connections
    lexical = PostgresLexical(reading, frequencies)
    return PostgresStore(
        PostgresStorage(connections, reading, replicas, housekeeping, timeline),
        lexical,
        PgVectorIndex(reading, Sizes(frequencies), lexical, timeline),
        PostgresModels(connections),
        PostgresHolders(reading),
        PostgresLicenseClock(connections),
        housekeeping,
        replicas,
    )


async def _prepare(connections: Connections, patience: timedelta) -> None:
    async with connections.lookup() as session:
        check_server(session.connection.info.server_version)
        ((installed, available, hidden, user, path, migrated),) = await session.rows(_STATE)
        revision = await session.row("SELECT version_num FROM alembic_version") if migrated else None
        judge(PART, await session.rows(TABLES[PART]))
    check_vector(installed, available)
    if hidden is not None:
        raise _unfound(hidden, user, path)
    if installed is None:
        await _create_vector(connections)
    if revision is None or revision[0] != HEAD:
        # Alembic takes 0.2 s to import, and is needed once in the life of a schema.
        from tmws_adapters.migrations.runner import upgrade_server  # noqa: PLC0415

        try:
            await anyio.to_thread.run_sync(partial(upgrade_server, connections.opener.url, lock_wait=patience))
        except psycopg.Error as error:
            raise connection_error(error) from error
        # Those opened before know nothing of the extension.
        await connections.close_idle()
    async with connections.lookup() as session:
        check_arrived(await found_origin(session), PART)
    await make_partitions(connections)


def check_server(version: int) -> None:
    """Refuse a server that is too old; `version` is as the server tells it, such as 170002."""
    major = version // 10_000
    if major < OLDEST_SERVER:
        raise StorageUnavailable(
            part=PART,
            reason=f"the server is PostgreSQL {major}",
            hint=f"Upgrade it to PostgreSQL {OLDEST_SERVER} or newer",
        )


def check_vector(installed: str | None, available: str | None) -> None:
    """Refuse a server without pgvector, or with one that is too old; the versions are as the server tells them."""
    version = installed or available
    if version is None:
        raise StorageUnavailable(
            part=PART,
            reason="the server has no extension vector",
            hint="Install pgvector 0.8 or newer on the server (on Debian: postgresql-17-pgvector)",
        )
    if tuple(map(int, version.split(".")[:2])) < OLDEST_VECTOR:
        raise StorageUnavailable(
            part=PART,
            reason=f"the extension vector is of version {version}",
            hint="Install pgvector 0.8 or newer on the server, and run: ALTER EXTENSION vector UPDATE",
        )


def _unfound(schema: str, user: str, path: str) -> StorageUnavailable:
    """Return the error for pgvector in a schema that is not in the search path of the user, or not open to it."""
    return StorageUnavailable(
        part=PART,
        reason=f"the extension vector is in the schema {schema}, where the user does not find it",
        hint=(
            f'Run: GRANT USAGE ON SCHEMA {schema} TO "{user}"; ALTER ROLE "{user}" SET search_path = {path}, {schema}; '
            f"or add options=-csearch_path%3Dpublic,{schema} to TMWS_DATABASE_URL"
        ),
    )


async def _create_vector(connections: Connections) -> None:
    try:
        async with connections.unit() as unit:
            await unit.run("SELECT pg_advisory_xact_lock(%s, 1)", (PARTITIONS,))
            await unit.run("CREATE EXTENSION IF NOT EXISTS vector")
    except StorageReadOnly as error:
        raise attrs.evolve(
            error,
            reason="the user has no right to create the extension vector",
            hint="Let a superuser run in this database: CREATE EXTENSION vector",
        ) from error
