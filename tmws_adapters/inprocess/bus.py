"""A bus within the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tmws_core.domain.events import MemoriesChanged

BACKLOG = 256
"""Events that are kept for one listener; the listeners only need to know that something changed."""


@attrs.frozen(eq=False)
class _Listener:
    sending: MemoryObjectSendStream[MemoriesChanged]
    receiving: MemoryObjectReceiveStream[MemoriesChanged]

    def hand(self, event: MemoriesChanged) -> None:
        try:
            self.sending.send_nowait(event)
        except anyio.WouldBlock:
            self.receiving.receive_nowait()
            self.sending.send_nowait(event)


@attrs.define(eq=False)
class InprocessBus:
    """A Bus that keeps at most BACKLOG events for each listener, the newest ones."""

    _listeners: list[_Listener] = attrs.field(factory=list, init=False)

    async def publish(self, event: MemoriesChanged) -> None:
        """Hand an event to all listeners; never waits for them."""
        for listener in self._listeners:
            listener.hand(event)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[MemoriesChanged]]:
        """Listen to what is published while the block runs, in order."""
        sending, receiving = anyio.create_memory_object_stream[MemoriesChanged](BACKLOG)
        listener = _Listener(sending, receiving)
        self._listeners.append(listener)
        try:
            with sending, receiving:
                yield receiving
        finally:
            self._listeners.remove(listener)
