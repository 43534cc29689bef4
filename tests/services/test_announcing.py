"""When others are told of a change."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import attrs
import pytest

from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.access import Visibility
from tmws_core.domain.events import MemoriesChanged
from tmws_core.messages.memory import CreateMemory, DeleteMemory, ShareMemory, UpdateMemory
from tmws_core.ports.bus import Bus
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Reading:
    """A bus that looks at once what is stored of that which it is told of."""

    inner: Bus
    storage: Storage
    seen: list[int] = attrs.field(factory=list)

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[MemoriesChanged]]:
        return self.inner.subscribe()

    async def publish(self, event: MemoriesChanged) -> None:
        everything = Visibility("", "", everything=True)
        async with self.storage.read() as snapshot:
            there = await snapshot.memories.visible(event.memory_ids, everything)
            self.seen += [(await snapshot.memories.get(each, everything)).version for each in there] or [0]
        await self.inner.publish(event)


async def test_a_change_is_told_of_when_it_is_there_for_everybody(settings: Settings) -> None:
    caller = settings.agent()
    async with open_parts(settings) as parts:
        bus = Reading(parts.bus, parts.storage)
        app = compose(settings, attrs.evolve(parts, bus=bus))
        memory_id = (await app.call(caller, CreateMemory(content="The rose blooms."))).memory_id
        await app.call(caller, UpdateMemory(memory_id=memory_id, content="The lily blooms."))
        await app.call(caller, ShareMemory(memory_id=memory_id, shared_with=("bob",)))
        await app.call(caller, DeleteMemory(memory_id=memory_id))
    assert bus.seen == [1, 2, 3, 0]
