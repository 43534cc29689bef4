"""Connections to one database: opened when they are needed, kept up to a number, and never handed out dead."""

import math
import select
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Protocol

import anyio
import attrs
import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from tmws_adapters.postgres.errors import ServerAway, crowded, exhausted
from tmws_adapters.postgres.opener import Opener
from tmws_adapters.postgres.quiet import silence
from tmws_adapters.postgres.session import SNAPSHOT, UNIT, Row, Session
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.health import PoolFigures
from tmws_core.turns import Turns

LONGEST_LIFE = 3600.0
"""Seconds after which a connection is replaced, so that one with much memory does not stay for ever."""

TRUSTED = 10.0
"""Seconds that a connection may lie idle and be believed alive: nothing tells of a machine that lost its power."""

PROOF = 1.0
"""Seconds in which such a connection has to answer; one that works takes a round trip."""

PAUSE = 0.1
"""Seconds between two attempts to find a server that takes changes; a standby is promoted within 0.1 to 0.3."""

FAILOVER = timedelta(seconds=15)
"""How long calls wait for such a server; a promotion takes a second, finding out that it is needed some more."""

LEAST = 3
"""Connections that a process needs: one of each kind."""


class Reading(Protocol):
    """What lends connections for reading."""

    def snapshot(self) -> AbstractAsyncContextManager[Session]:
        """Borrow a connection for one snapshot, which begins with the first statement."""
        ...

    def lookup(self) -> AbstractAsyncContextManager[Session]:
        """Borrow a connection for single questions."""
        ...


@attrs.define(eq=False)
class _Pool:
    """Lends connections: `kept` stay open while nobody uses them.

    While no server takes connections it goes on trying, until `failover` seconds have passed since the first failure:
    who comes later than that is told at once.
    """

    _opener: Opener
    _kept: int
    failover: float = attrs.field(default=0.0, init=False)
    _away: tuple[float, float] = attrs.field(default=(-math.inf, -math.inf), init=False)
    """When a server was first found to be away, and last."""

    lent_now: int = attrs.field(default=0, init=False)
    idle: "list[tuple[psycopg.AsyncConnection[Row], float, float]]" = attrs.field(factory=list, init=False)

    @asynccontextmanager
    async def lent(self, *, waits: bool) -> "AsyncIterator[psycopg.AsyncConnection[Row]]":
        """Lend a connection for the block."""
        connection, opened = await self._alive() or (
            await self._opened(self.failover if waits else 0.0),
            time.monotonic(),
        )
        self.lent_now += 1
        try:
            yield connection
        finally:
            self.lent_now -= 1
            now = time.monotonic()
            if connection.closed:
                self.distrust()
            if _at_rest(connection) and now - opened <= LONGEST_LIFE and len(self.idle) < self._kept:
                self.idle.append((connection, opened, now))
            else:
                await connection.close()

    def distrust(self) -> None:
        """Let each idle connection prove that it is alive before it is lent."""
        self.idle = [(connection, opened, 0.0) for connection, opened, _ in self.idle]

    async def close(self) -> None:
        """Close all connections that are not lent."""
        while self.idle:
            await self.idle.pop()[0].close()

    async def _opened(self, patience: float) -> "psycopg.AsyncConnection[Row]":
        while True:
            try:
                connection = await self._opener.connect()
            except ServerAway:
                now = time.monotonic()
                first, last = self._away
                first = first if now - last <= self.failover else now
                self._away = first, now
                if now + PAUSE > first + patience:
                    raise
                await anyio.sleep(PAUSE)
            else:
                self._away = -math.inf, -math.inf
                return connection

    async def _alive(self) -> "tuple[psycopg.AsyncConnection[Row], float] | None":
        while self.idle:
            connection, opened, used = self.idle.pop()
            # A server that is gone has said so: there is something to read, where nothing was asked.
            dead = connection.closed or _readable(connection.fileno())
            if not dead and (time.monotonic() - used < TRUSTED or await _proven(connection)):
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
    _pool: _Pool
    _patience: timedelta
    _limits: tuple[int, int, int]
    _snapshots: anyio.Semaphore
    _units: anyio.Semaphore
    _lookups: anyio.Semaphore
    _agents: Turns = attrs.field(factory=lambda: Turns(1), init=False)

    @asynccontextmanager
    async def snapshot(self, *, waits: bool = True) -> AsyncIterator[Session]:
        """Borrow a connection for one snapshot, which begins with the first statement."""
        async with self._session(self._snapshots, self._limits[0], SNAPSHOT, waits=waits) as session:
            yield session

    @asynccontextmanager
    async def unit(self, agent_id: str = "") -> AsyncIterator[Session]:
        """Borrow a connection for one unit of work; what the block did is durable when it has ended.

        An agent has one at a time: as its units lock what it owns, all others would hold their connections waiting.
        """
        async with self._turn(agent_id), self._session(self._units, self._limits[1], UNIT, waits=True) as session:
            yield session
            await session.settle()
            # Whether a commit that is given up happens is not known; all that comes before it may be given up.
            with anyio.CancelScope(shield=True):
                await session.commit()

    @asynccontextmanager
    async def _turn(self, agent_id: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            seconds = self._patience.total_seconds()
            with anyio.move_on_after(seconds if agent_id else math.inf) as waiting:
                if agent_id:
                    await held.enter_async_context(self._agents.of(agent_id))
            if waiting.cancelled_caught:
                raise crowded(agent_id, seconds)
            yield

    @asynccontextmanager
    async def lookup(self, *, waits: bool = True) -> AsyncIterator[Session]:
        """Borrow a connection for single questions; unless one `waits`, a server that is gone is told at once."""
        async with self._session(self._lookups, self._limits[2], "", waits=waits) as session:
            yield session

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[Session]:
        """Borrow a connection beyond the limits for a transaction that lasts while others are begun: one at a time."""
        async with self._lent(UNIT, waits=True) as session:
            yield session

    @property
    def figures(self) -> PoolFigures:
        """Return how many connections there are."""
        return PoolFigures(self._pool.lent_now, len(self._pool.idle), sum(self._limits))

    def await_failover(self, failover: timedelta) -> None:
        """Let whoever needs a connection wait so long for a server that takes it, from now on."""
        self._pool.failover = failover.total_seconds()

    async def close_idle(self) -> None:
        """Close the connections that are not lent; others are opened in their place."""
        await self._pool.close()

    @asynccontextmanager
    async def _session(self, slots: anyio.Semaphore, limit: int, begin: str, *, waits: bool) -> AsyncIterator[Session]:
        seconds = self._patience.total_seconds()
        with anyio.move_on_after(seconds) as waiting:
            await slots.acquire()
        if waiting.cancelled_caught:
            raise exhausted(limit, seconds)
        try:
            async with self._lent(begin, waits=waits) as session:
                yield session
        finally:
            slots.release()

    @asynccontextmanager
    async def _lent(self, begin: str, *, waits: bool) -> AsyncIterator[Session]:
        async with self._pool.lent(waits=waits) as connection:
            session = Session(connection, begin, self.opener.limit)
            try:
                yield session
            finally:
                await session.end()
                if session.met_a_replica:
                    # A primary that became one: the others may lead to it as well.
                    await connection.close()
                    await self.close_idle()


@asynccontextmanager
async def open_connections(
    opener: Opener, *, pool_size: int, max_overflow: int, patience: timedelta
) -> AsyncIterator[Connections]:
    """Lend connections, which are opened when they are needed: `pool_size` + `max_overflow` at most."""
    silence()
    limit = max(LEAST, pool_size + max_overflow)
    units = max(1, limit // 3)
    lookups = max(1, limit // 4)
    limits = (limit - units - lookups, units, lookups)
    pool = _Pool(opener, pool_size)
    snapshot, unit, lookup = (anyio.Semaphore(each, fast_acquire=True) for each in limits)
    try:
        yield Connections(opener, pool, patience, limits, snapshot, unit, lookup)
    finally:
        with anyio.CancelScope(shield=True):
            await pool.close()


async def _proven(connection: "psycopg.AsyncConnection[Row]") -> bool:
    session = Session(connection, "", PROOF)
    try:
        await session.run("SELECT 1")
    except StorageUnavailable:
        return False
    finally:
        # It is closed where the proof was given up.
        await session.end()
    return True


def _at_rest(connection: "psycopg.AsyncConnection[Row]") -> bool:
    """Tell whether nothing is under way on a connection: the next one to use it finds it as if it were new."""
    state = connection.pgconn
    return (
        not connection.closed
        and state.transaction_status == TransactionStatus.IDLE
        and state.pipeline_status == PipelineStatus.OFF
    )


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
