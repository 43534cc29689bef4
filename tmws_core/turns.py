"""Turns at what is scarce: nobody takes more than a share of it, so that others wait behind a few calls only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs


@attrs.define(eq=False)
class _Queue:
    """The turns of one key, and for how many they are there: those who have one and those who wait."""

    free: anyio.Semaphore
    users: int = 0


class Turns:
    """At most `most` turns at once for each key, first come first served; keys do not wait for each other.

    Nothing is kept of a key that nobody uses.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it; a cancelled wait leaves nothing behind.

        Whoever holds one must not wait for another of the same key: with `most` of them doing so, nobody would go on.
        """
        queue = self._queues.setdefault(key, _Queue(anyio.Semaphore(self._most, fast_acquire=True)))
        queue.users += 1
        try:
            async with queue.free:
                yield
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[key]

    def __len__(self) -> int:
        """Return how many keys somebody holds or waits for."""
        return len(self._queues)
