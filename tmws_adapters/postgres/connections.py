"""Connections to one database: opened when they are needed, kept up to a number, and never handed out dead."""

import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tmws_adapters.postgres.errors import connection_error, exhausted
from tmws_adapters.postgres.session import SNAPSHOT, UNIT, Row, Session
from tmws_adapters.postgres.vector_type import register

CONNECT_TIMEOUT = 10
"""Seconds to wait for the server, unless the URL says otherwise; a failover takes less."""

LOCK_TIMEOUT = timedelta(seconds=10)
"""How long a statement waits for another transaction; those of this program last for milliseconds."""

LONGEST_LIFE = timedelta(hours=1)
"""After which a connection is replaced, so that one to a former primary or with much memory does not stay for ever."""

LEAST = 3
"""Connections that a process needs: one of each kind."""


@attrs.frozen(kw_only=True)
class Opener:
    """Opens connections that are set up alike."""

    url: str
    statement_timeout: timedelta
    lock_timeout: timedelta = LOCK_TIMEOUT

    async def connect(self) -> "psycopg.AsyncConnection[Row]":
        """Open a connection; a StorageUnavailable says why there is none."""
        try:
            parameters = conninfo_to_dict(self.url)
            parameters.setdefault("connect_timeout", CONNECT_TIMEOUT)
            parameters.setdefault("fallback_application_name", "tmws")
            connection = await psycopg.AsyncConnection.connect(make_conninfo("", **parameters), autocommit=True)
        except (psycopg.Error, UnicodeError) as error:
            # The message may hold parts of the URL: it is not kept.
            raise connection_error(_plain(error)) from None
        try:
            await connection.execute(self._setup())
            await register(connection)
        except BaseException as error:
            # Also where the task is cancelled.
            await connection.close()
            if isinstance(error, psycopg.Error):
                raise connection_error(error) from error
            raise
        return connection

    def _setup(self) -> bytes:
        milliseconds = timedelta(milliseconds=1)
        return (
            f"SET statement_timeout = {self.statement_timeout // milliseconds};"
            f"SET lock_timeout = {self.lock_timeout // milliseconds};"
            f"SET idle_in_transaction_session_timeout = {2 * self.statement_timeout // milliseconds};"
            "SET timezone = 'UTC'; SET client_encoding = 'UTF8'; SET jit = off"
        ).encode()


@attrs.define(eq=False)
class Pool:
    """Lends connections: `kept` stay open while nobody uses them."""

    _opener: Opener
    _kept: int
    _idle: "list[tuple[psycopg.AsyncConnection[Row], float]]" = attrs.field(factory=list, init=False)

    @asynccontextmanager
    async def lent(self) -> "AsyncIterator[psycopg.AsyncConnection[Row]]":
        """Lend a connection for the block."""
        connection, opened = await self._alive() or (await self._opener.connect(), time.monotonic())
        try:
            yield connection
        finally:
            old = time.monotonic() - opened > LONGEST_LIFE.total_seconds()
            if connection.closed or old or len(self._idle) >= self._kept:
                with anyio.CancelScope(shield=True):
                    await connection.close()
            else:
                self._idle.append((connection, opened))

    async def close(self) -> None:
        """Close all connections that are not lent."""
        while self._idle:
            await self._idle.pop()[0].close()

    async def _alive(self) -> "tuple[psycopg.AsyncConnection[Row], float] | None":
        while self._idle:
            connection, opened = self._idle.pop()
            # A server that is gone has said so: there is something to read, where nothing was asked.
            if not connection.closed and not _readable(connection.fileno()):
                return connection, opened
            await connection.close()
        return None


@attrs.define(eq=False)
class Connections:
    """All connections of this process to one database.

    `snapshot` and `unit` are for whole transactions, `lookup` for single questions. Each kind has a number of its own,
    as who holds a snapshot may begin a unit, and who holds either may ask a question: with one number for all, as many
    such users would wait for each other for ever.
    """

    opener: Opener
    _pool: Pool
    _patience: timedelta
    _limits: tuple[int, int, int]
    _snapshots: anyio.Semaphore
    _units: anyio.Semaphore
    _lookups: anyio.Semaphore

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Session]:
        """Borrow a connection for one snapshot, which begins with the first statement."""
        async with self._session(self._snapshots, self._limits[0], SNAPSHOT) as session:
            yield session

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[Session]:
        """Borrow a connection for one unit of work; what the block did is durable when it has ended."""
        async with self._session(self._units, self._limits[1], UNIT) as session:
            yield session
            # Whether a commit that is given up happens is not known.
            with anyio.CancelScope(shield=True):
                await session.commit()

    @asynccontextmanager
    async def lookup(self) -> AsyncIterator[Session]:
        """Borrow a connection for single questions."""
        async with self._session(self._lookups, self._limits[2], "") as session:
            yield session

    async def close_idle(self) -> None:
        """Close the connections that are not lent; others are opened in their place."""
        await self._pool.close()

    @asynccontextmanager
    async def _session(self, slots: anyio.Semaphore, limit: int, begin: str) -> AsyncIterator[Session]:
        seconds = self._patience.total_seconds()
        with anyio.move_on_after(seconds) as waiting:
            await slots.acquire()
        if waiting.cancelled_caught:
            raise exhausted(limit, seconds)
        try:
            async with self._pool.lent() as connection:
                session = Session(connection, begin)
                try:
                    yield session
                finally:
                    await session.end()
        finally:
            slots.release()


@asynccontextmanager
async def open_connections(
    opener: Opener, *, pool_size: int, max_overflow: int, patience: timedelta
) -> AsyncIterator[Connections]:
    """Lend connections, which are opened when they are needed: `pool_size` + `max_overflow` at most."""
    limit = max(LEAST, pool_size + max_overflow)
    units = max(1, limit // 3)
    lookups = max(1, limit // 4)
    limits = (limit - units - lookups, units, lookups)
    pool = Pool(opener, pool_size)
    snapshot, unit, lookup = (anyio.Semaphore(each, fast_acquire=True) for each in limits)
    try:
        yield Connections(opener, pool, patience, limits, snapshot, unit, lookup)
    finally:
        with anyio.CancelScope(shield=True):
            await pool.close()


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _plain(error: Exception) -> psycopg.Error:
    """Return an error of the driver; a host that cannot be encoded is a wrong one."""
    return error if isinstance(error, psycopg.Error) else psycopg.OperationalError("could not translate host name")
