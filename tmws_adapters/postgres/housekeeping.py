"""What a database needs now and then: the partitions of the months to come, and old edits forgotten."""

import logging
import time
from datetime import datetime

import anyio
import attrs

from tmws_adapters.postgres.connections import Connections
from tmws_adapters.postgres.edits import forget_edits
from tmws_adapters.postgres.partitions import make_partitions
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.system import Clock

logger = logging.getLogger("tmws.postgresql")

LOOK = 3600.0
"""Seconds between two looks at what is missing."""

SOON = 60.0
"""Seconds until the next look after one that did not do everything."""

OVERDUE = 86_400.0
"""Seconds without a look, after which a write looks: in its process nothing runs in the background."""


@attrs.define(eq=False)
class Housekeeping:
    """Looks after one database, which was looked after when it was opened; what cannot be done does no harm."""

    _connections: Connections
    _looked: float = attrs.field(factory=time.monotonic, init=False)

    async def run(self, clock: Clock) -> None:
        """Look now and then, until it is cancelled; the months are those of the clock that memories get theirs from."""
        pause = LOOK
        while True:
            await anyio.sleep(pause)
            pause = LOOK if await self.look(clock.now()) else SOON

    async def look_if_overdue(self) -> None:
        """Look where nobody has done so for long; it takes a second or two at most."""
        if time.monotonic() - self._looked > OVERDUE:
            await self.look()

    async def look(self, now: datetime | None = None) -> bool:
        """Do what is missing at a time, by default the server's, and tell whether all of it was done."""
        self._looked = time.monotonic()
        try:
            done = await make_partitions(self._connections, now)
            await forget_edits(self._connections)
        except StorageUnavailable as error:
            # The default partition takes what has no other, and edits are forgotten the next time.
            logger.warning("⚠️ The tables were not looked after: %s", error.message)
            return False
        return done
