"""How often memories are read, told to the store now and then."""

import logging

import anyio
import attrs

from tmws_core.domain.memory import Uses
from tmws_core.errors import StorageUnavailable
from tmws_core.periodic import periodically
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock

logger = logging.getLogger("tmws")

INTERVAL_SECONDS = 10.0
"""Between two transactions: what a crash forgets is a few counts."""


@attrs.frozen(kw_only=True)
class Usage:
    """Counts in memory, so that reading stays free of writing."""

    storage: Storage
    clock: Clock
    _noted: dict[str, Uses] = attrs.field(factory=dict, init=False)

    def note(self, memory_id: str) -> None:
        """Count one use of a memory."""
        former = self._noted.get(memory_id)
        self._noted[memory_id] = Uses(1 if former is None else former.count + 1, self.clock.now())

    async def run(self) -> None:
        """Store what was noted every INTERVAL_SECONDS, and once more when cancelled."""
        try:
            await periodically(self.flush, INTERVAL_SECONDS)
        finally:
            if self._noted:
                logger.warning("⚠️ The uses of %d memories could not be counted", len(self._noted))

    async def flush(self) -> None:
        """Store what was noted; while the store is out of reach it stays noted."""
        if not self._noted:
            return
        noted = dict(self._noted)
        self._noted.clear()
        try:
            async with self.storage.write() as unit:
                await unit.changes.add_uses(noted)
        except StorageUnavailable:
            self._restore(noted)
        except anyio.get_cancelled_exc_class():
            self._restore(noted)
            raise

    def _restore(self, noted: dict[str, Uses]) -> None:
        for memory_id, uses in noted.items():
            later = self._noted.get(memory_id)
            self._noted[memory_id] = uses if later is None else Uses(uses.count + later.count, later.last)
