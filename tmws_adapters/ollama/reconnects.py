"""Whether a connection is one more, or stands for one that was lost: then another server may have come to answer."""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.define
class Reconnects:
    """Counts, of a pool of connections to one server, how often one was lost; it reuses those that nobody needs."""

    most: int
    count: int = attrs.field(default=0, init=False)
    _alive: int = attrs.field(default=0, init=False)
    _busy: int = attrs.field(default=0, init=False)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold a connection for the block."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def trace(self, event: str, _info: dict[str, object]) -> None:
        """Notice a new connection; the `trace` of httpcore."""
        if event == "connection.connect_tcp.complete":
            others = min(self._busy, self.most) - 1
            if others < self._alive:
                # One that was free was not taken: it was gone.
                self.count += 1
                self._alive = others
            self._alive += 1
