"""The bus: what services tell each other after a change is committed."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tmws_core.domain.events import MemoriesChanged


class Bus(Protocol):
    """Hands events to whoever listens; a listener that falls behind misses the oldest, so events are hints only."""

    async def publish(self, event: MemoriesChanged) -> None:
        """Hand an event to all listeners; never waits for them."""
        ...

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[MemoriesChanged]]:
        """Listen to what is published while the block runs, in order."""
        ...
