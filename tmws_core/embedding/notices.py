"""What the log says of an embedder that fails while it is used, and of its return."""

import logging

import attrs

from tmws_core.ports.system import Clock

logger = logging.getLogger("tmws")

QUIET_SECONDS = 60.0
"""Between two lines about a failure: one that comes and goes with every call fills no disk."""

_REASON = 500
"""Characters of a reason: what a server says of itself has 300 at most."""


@attrs.define
class Notices:
    """Says that the embedder fails, once until it works again, and that it works again if the failure was said."""

    clock: Clock
    _failing_since: float | None = attrs.field(default=None, init=False)
    _said: float | None = attrs.field(default=None, init=False)
    _told: bool = attrs.field(default=False, init=False)

    def failed(self, reason: str) -> None:
        """Note a call that failed."""
        now = self.clock.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if not self._told and (self._said is None or now >= self._said + QUIET_SECONDS):
            self._told, self._said = True, now
            logger.warning("⚠️ Embedder down, memories are stored without vectors: %s", _one_line(reason))

    def worked(self) -> None:
        """Note a call that was answered."""
        if self._told and self._failing_since is not None:
            seconds = self.clock.monotonic() - self._failing_since
            logger.info("✅ Embedder back after %.0f s", seconds)
        self._failing_since, self._told = None, False


def _one_line(reason: str) -> str:
    """Return a reason, part of which a server may have said, so that it cannot look like another line."""
    return "".join(character if character.isprintable() else " " for character in reason[:_REASON])
