"""A signed position in memory."""

import attrs

from tmws_core.domain.chain import Checkpoint


@attrs.define(eq=False)
class InprocessPosition:
    """A SignedPosition that is forgotten with the process."""

    _kept: Checkpoint | None = attrs.field(default=None, init=False)

    @property
    def where(self) -> str:
        """Tell that it is in memory."""
        return "the memory of this process"

    async def last(self) -> Checkpoint | None:
        """Return what was kept."""
        return self._kept

    async def keep(self, checkpoint: Checkpoint) -> bool:
        """Keep a checkpoint."""
        self._kept = checkpoint
        return True
