"""How far a primary has written, and servers that are left alone for a while after a failure."""

import time

import anyio
import attrs

from tmws_adapters.postgres.connections import Connections
from tmws_core.errors import StorageReadOnly, StorageUnavailable

SHORTEST, LONGEST = 0.25, 4.0
"""Seconds for which a replica that failed is left out, twice as long each time; then one read tries it again."""

GONE = 0.5
"""Seconds for which a primary that did not answer is not asked again."""

TIMELINE_OF_PRIMARY = "('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::integer"

TIMELINE_OF_REPLICA = """greatest(
    (SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery())
)"""
"""A replica tells of a new timeline once it has written a page of it, some minutes after a promotion at the latest."""

TIMELINE = f"CASE WHEN pg_is_in_recovery() THEN {TIMELINE_OF_REPLICA} ELSE {TIMELINE_OF_PRIMARY} END"
"""What another server continues after a failover: it may lack commits, and give the numbers of documents anew."""

NO_TIMELINE = "0"
"""For servers that keep no log of their own, and cannot tell."""

_WRITTEN = f"SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint, {TIMELINE_OF_PRIMARY}"
_SYSTEM = "SELECT system_identifier FROM pg_control_system()"


async def timeline_of(connections: Connections) -> str:
    """Return the SQL that tells on which timeline the server is.

    Raises:
        StorageUnavailable: the server does not answer now; one that knows no such function, or refuses it, does.
    """
    try:
        async with connections.lookup() as session:
            await session.rows(f"SELECT {TIMELINE}")
    except StorageReadOnly:
        return NO_TIMELINE
    except StorageUnavailable as error:
        if type(error) is not StorageUnavailable:
            raise
        return NO_TIMELINE
    return TIMELINE


@attrs.frozen
class Position:
    """How far a primary has written, in bytes: positions of other clusters, or other timelines, are none of its."""

    system: int
    timeline: int
    written: int

    @property
    def history(self) -> tuple[int, int]:
        """Return what positions must have in common to be compared."""
        return self.system, self.timeline


@attrs.define(eq=False)
class Gate:
    """Leaves a server out after a failure, each time for longer, and lets one at a time find out whether it is back."""

    _shortest: float = SHORTEST
    _longest: float = LONGEST
    _pause: float = attrs.field(default=0.0, init=False)
    _until: float = attrs.field(default=0.0, init=False)

    @property
    def shut(self) -> bool:
        """Tell whether the last attempt failed."""
        return self._pause > 0

    def enter(self) -> bool:
        """Tell whether to try; while the gate is shut only one may in each pause."""
        now = time.monotonic()
        if self.shut:
            if now < self._until:
                return False
            self._until = now + self._pause
        return True

    def failed(self) -> None:
        """Shut the gate for a while."""
        self._pause = min(max(self._shortest, 2 * self._pause), self._longest)
        self._until = time.monotonic() + self._pause

    def succeeded(self) -> None:
        """Open the gate."""
        self._pause = 0.0


@attrs.define(eq=False)
class Primary:
    """Tells how far the primary has written: whatever was acknowledged before one asked lies before that position.

    Those who ask while a question is on its way share the next one: there is one trip at a time, however many ask. It
    has `connections` of its own, so that no other work is waited for.
    """

    _connections: Connections
    last: Position | None = attrs.field(default=None, init=False)
    problem: str = attrs.field(default="", init=False)
    _gate: Gate = attrs.field(factory=lambda: Gate(GONE, GONE), init=False)
    _lock: anyio.Lock = attrs.field(factory=lambda: anyio.Lock(fast_acquire=True), init=False)
    _asked: int = attrs.field(default=0, init=False)
    _answered: int = attrs.field(default=0, init=False)

    async def position(self) -> Position | None:
        """Return the position, or None while the primary is gone."""
        if self.problem and (self._lock.locked() or not self._gate.enter()):
            return None
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._answered < mine:
                begun = self._asked
                await self._ask()
                self._answered = begun
        return None if self.problem else self.last

    async def _ask(self) -> None:
        try:
            async with self._connections.lookup(waits=False) as session:
                ((written, timeline),) = await session.rows(_WRITTEN)
                if self.last is not None and self.last.timeline == timeline:
                    self.last = attrs.evolve(self.last, written=written)
                else:
                    ((system,),) = await session.rows(_SYSTEM)
                    self.last = Position(system, timeline, written)
        except StorageUnavailable as error:
            self.problem = error.problem
            self._gate.failed()
        else:
            self.problem = ""
            self._gate.succeeded()
