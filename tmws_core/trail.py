"""What belongs into the audit log and has no transaction of its own: reads, refusals, attempts to authenticate."""

import logging
from collections.abc import Sequence

import anyio
import attrs

from tmws_core.domain.agent import Caller
from tmws_core.domain.audit import AuditEvent, Detail
from tmws_core.errors import AuditBroken, StorageUnavailable
from tmws_core.periodic import periodically
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock

logger = logging.getLogger("tmws")

INTERVAL_SECONDS = 1.0
"""Between two transactions: what a crash forgets at most."""

BOUND = 10_000
"""Different events that are kept while they cannot be written: 8 MB; writing them takes 0.1 to 0.3 s."""

_Key = tuple[str, str, tuple[tuple[str, Detail], ...]]


@attrs.define(eq=False)
class _Noted:
    event: AuditEvent
    count: int


@attrs.define(eq=False, kw_only=True)
class Trail:
    """Keeps events in memory for a moment, so that reading stays free of writing.

    Events that differ in nothing but their time become one row, with the time of the first and a `count`. Not
    `enabled`, it forgets everything at once.
    """

    storage: Storage
    clock: Clock
    enabled: bool
    _noted: dict[_Key, _Noted] = attrs.field(factory=dict, init=False)
    _dropped: int = attrs.field(default=0, init=False)

    def note(self, event: AuditEvent) -> None:
        """Keep an event for the next transaction."""
        if self.enabled:
            self._keep(event, 1)

    def saw(self, caller: Caller, event_type: str, **details: Detail) -> None:
        """Note what a caller did; how it came is noted along."""
        if self.enabled:
            told = {**details, "transport": caller.transport}
            event = AuditEvent(
                timestamp=self.clock.now(), event_type=event_type, agent_id=caller.agent_id, details=told
            )
            self._keep(event, 1)

    async def run(self) -> None:
        """Write what was noted every INTERVAL_SECONDS, and once more when cancelled."""
        try:
            await periodically(self.flush, INTERVAL_SECONDS)
        finally:
            if self._noted or self._dropped:
                logger.warning("⚠️ %d events of the audit log could not be written", len(self._noted) + self._dropped)

    async def flush(self) -> None:
        """Write what was noted in one transaction; while the store cannot be written it stays noted."""
        if not self._noted and not self._dropped:
            return
        noted, dropped = list(self._noted.values()), self._dropped
        self._noted, self._dropped = {}, 0
        try:
            async with self.storage.write() as unit:
                await unit.audit([*map(_counted, noted), *self._gap(dropped)])
        except (StorageUnavailable, AuditBroken):
            self._restore(noted, dropped)
        except anyio.get_cancelled_exc_class():
            self._restore(noted, dropped)
            raise

    def _restore(self, noted: Sequence[_Noted], dropped: int) -> None:
        later, self._noted = self._noted.values(), {}
        self._dropped += dropped
        for each in (*noted, *later):
            self._keep(each.event, each.count)

    def _keep(self, event: AuditEvent, count: int) -> None:
        key = (event.event_type, event.agent_id, tuple(event.details.items()))
        known = self._noted.get(key)
        if known is not None:
            known.count += count
        elif len(self._noted) < BOUND:
            self._noted[key] = _Noted(event, count)
        else:
            self._dropped += count

    def _gap(self, dropped: int) -> list[AuditEvent]:
        if not dropped:
            return []
        now = self.clock.now()
        return [AuditEvent(timestamp=now, event_type="audit.dropped", agent_id="tmws", details={"count": dropped})]


def _counted(noted: _Noted) -> AuditEvent:
    if noted.count == 1:
        return noted.event
    return attrs.evolve(noted.event, details={**noted.event.details, "count": noted.count})
