"""Reading from replicas, as far as they have everything that was acknowledged before."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from operator import methodcaller
from weakref import WeakKeyDictionary

import anyio
import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict

from tmws_adapters.postgres.connections import Connections, open_connections
from tmws_adapters.postgres.errors import PART, connection_error
from tmws_adapters.postgres.opener import SILENCE, Opener
from tmws_adapters.postgres.positions import SHORTEST, TIMELINE_OF_REPLICA, Gate, Position, Primary
from tmws_adapters.postgres.session import Session
from tmws_core.errors import PartUnavailable, StorageBusy, StorageInterrupted, StorageUnavailable

WAIT = 0.05
"""Seconds in which a replica may catch up with the primary: an idle one is behind by 1 to 3 milliseconds."""

STEP = 0.002
"""Seconds between two looks at how far it is."""

WITHIN = 2.0
"""Seconds for opening a connection to a replica; the read that waits for it can go elsewhere."""

LAGGING = 1.0
"""The most seconds for which one that is behind is left out: trying it again costs one read the WAIT."""

_REPLAYED = """
    SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END,
        extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8
"""
"""A server that is no replica any more has no position: what it writes is not what the primary does."""

_FOLLOWS = f"SELECT (SELECT system_identifier FROM pg_control_system()), {TIMELINE_OF_REPLICA}"  # noqa: S608 - constants


@attrs.define(eq=False)
class Replica:
    """A server that follows the primary; `name` is its place, without secrets."""

    name: str
    connections: Connections
    alive: Gate = attrs.field(factory=Gate, init=False)
    near: Gate = attrs.field(factory=lambda: Gate(SHORTEST, LAGGING), init=False)
    _known: "WeakKeyDictionary[object, Position]" = attrs.field(factory=WeakKeyDictionary, init=False)

    async def reach(self, lent: Session, position: Position) -> bool:
        """Wait a moment for the replica to get there, and tell whether it did.

        It is asked through the connection that reads afterwards: behind one address there may be several servers.
        """
        known = self._known.get(lent.connection)
        if known is not None and known.history == position.history and known.written >= position.written:
            return True
        session = Session(lent.connection, "", self.connections.opener.limit)
        if not await self._follows(session, position):
            return False
        end = time.monotonic() + WAIT
        while True:
            replayed, _ = (await session.rows(_REPLAYED))[0]
            if replayed is not None and replayed >= position.written:
                self._remember(session, position, replayed)
                return True
            if replayed is None or time.monotonic() > end:
                return False
            await anyio.sleep(STEP)

    async def lag(self, primary: Primary) -> int | None:
        """Return by how many bytes it is behind, or None while the primary is gone.

        Raises:
            PartUnavailable: nothing is read from it now.
        """
        position = await primary.position()
        try:
            async with self.connections.lookup(waits=False) as session:
                replayed, seconds = (await session.rows(_REPLAYED))[0]
                follows = position is None or await self._follows(session, position)
        except PartUnavailable as error:
            hint = error.hint.replace("TMWS_DATABASE_URL", "TMWS_DATABASE_URL_READ")
            raise PartUnavailable(part=self.name, reason=error.reason, hint=hint) from None
        if replayed is None:
            raise self._unusable("it is no replica, or not any more", "Correct TMWS_DATABASE_URL_READ")
        if not follows:
            raise self._unusable("it does not follow this primary yet", "Let it follow the primary, or make it anew")
        behind = 0 if position is None else max(0, position.written - replayed)
        if behind and self.near.shut:
            reason = f"it is {behind} bytes behind the primary, and has replayed nothing for {seconds or 0:.1f} s"
            raise self._unusable(reason, "See its log, and whether the replay is paused")
        return None if position is None else behind

    async def _follows(self, session: Session, position: Position) -> bool:
        known = self._known.get(session.connection)
        if known is not None and known.history == position.history:
            return True
        ((system, timeline),) = await session.rows(_FOLLOWS)
        return (system, timeline) == position.history

    def _remember(self, session: Session, position: Position, replayed: int) -> None:
        # Behind a pooler it may be another server the next time.
        if session.connection.prepare_threshold is not None:
            self._known[session.connection] = attrs.evolve(position, written=replayed)

    def _unusable(self, reason: str, hint: str) -> PartUnavailable:
        return PartUnavailable(part=self.name, reason=reason, hint=f"{hint}; reads go elsewhere meanwhile")


@attrs.define(eq=False)
class Replicas:
    """Lends connections for reading: to a replica that has replayed what was written when it was asked for, in turn.

    So whoever reads sees all that was acknowledged to anybody before. Where no replica gets there in time the primary
    is read; while that is gone, the replicas as far as they are.
    """

    primary: Primary
    members: Sequence[Replica]
    _connections: Connections
    _turn: int = attrs.field(default=0, init=False)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Session]:
        """Borrow a connection for one snapshot, which begins with the first statement."""
        async with self._session("snapshot") as session:
            yield session

    @asynccontextmanager
    async def lookup(self) -> AsyncIterator[Session]:
        """Borrow a connection for single questions."""
        async with self._session("lookup") as session:
            yield session

    async def fallback(self) -> str:
        """Return why replicas are read without the primary, or the empty string."""
        await self.primary.position()
        return self.primary.problem

    @asynccontextmanager
    async def _session(self, kind: str) -> AsyncIterator[Session]:
        position = await self.primary.position()
        async with AsyncExitStack() as stack:
            found = await self._entered(stack, kind, position or self.primary.last)
            if found is None and position is None:
                found = await self._entered(stack, kind, None)
            if found is None:
                yield await stack.enter_async_context(_lent(self._connections, kind))
                return
            replica, session = found
            try:
                yield session
            except StorageInterrupted:
                replica.alive.failed()
                raise
            except StorageBusy as error:
                if not session.met_a_conflict:
                    raise
                # What was replayed removed what the read still needed.
                replica.near.failed()
                raise StorageInterrupted(part=PART, reason=error.reason, hint=error.hint) from error

    async def _entered(
        self, stack: AsyncExitStack, kind: str, position: Position | None
    ) -> tuple[Replica, Session] | None:
        self._turn += 1
        for number in range(len(self.members)):
            replica = self.members[(self._turn + number) % len(self.members)]
            if not replica.alive.enter() or (position is not None and not replica.near.enter()):
                continue
            try:
                async with AsyncExitStack() as attempt:
                    session = await attempt.enter_async_context(_lent(replica.connections, kind))
                    if position is None or await replica.reach(session, position):
                        replica.alive.succeeded()
                        if position is not None:
                            replica.near.succeeded()
                        stack.push_async_exit(attempt.pop_all())
                        return replica, session
                replica.alive.succeeded()
                replica.near.failed()
            except StorageUnavailable:
                replica.alive.failed()
        return None


@asynccontextmanager
async def open_replicas(
    urls: Sequence[str], connections: Connections, *, pool_size: int, max_overflow: int, patience: timedelta
) -> AsyncIterator[Replicas]:
    """Read from the replicas at the URLs; none has to be there now.

    Raises:
        StorageUnavailable: a URL is malformed.
    """
    async with AsyncExitStack() as stack:
        asking = attrs.evolve(connections.opener, statement_timeout=timedelta(seconds=SILENCE))
        primary = Primary(
            await stack.enter_async_context(open_connections(asking, pool_size=1, max_overflow=0, patience=patience))
        )
        members = []
        for number, url in enumerate(urls, 1):
            opener = Opener(url=url, statement_timeout=patience, replica=True, within=WITHIN)
            lending = open_connections(opener, pool_size=pool_size, max_overflow=max_overflow, patience=patience)
            members.append(Replica(name_of(number, url), await stack.enter_async_context(lending)))
        yield Replicas(primary, members, connections)


def name_of(number: int, url: str) -> str:
    """Return what a replica is called: its place in the setting, its host and its port."""
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.Error as error:
        found = connection_error(error)
        raise attrs.evolve(found, hint=found.hint.replace("TMWS_DATABASE_URL", "TMWS_DATABASE_URL_READ")) from None
    host = parameters.get("host") or parameters.get("hostaddr") or "localhost"
    return f"replica {number} at {host}:{parameters.get('port') or 5432}"


def _lent(connections: Connections, kind: str) -> AbstractAsyncContextManager[Session]:
    lent: AbstractAsyncContextManager[Session] = methodcaller(kind)(connections)
    return lent
