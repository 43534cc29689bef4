"""The contract of Bus."""

from collections.abc import AsyncIterator

import anyio
import pytest

from tests.contracts.redis_steps import KINDS, running, url_of
from tmws_adapters.inprocess import InprocessBus
from tmws_adapters.inprocess.bus import BACKLOG
from tmws_core.domain.events import MemoriesChanged
from tmws_core.ports.bus import Bus

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["inprocess", *KINDS])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if request.param == "inprocess":
        yield InprocessBus()
        return
    async with running(url_of(request, request.param)) as redis:
        yield redis.bus


def event(number: int) -> MemoriesChanged:
    return MemoriesChanged(memory_ids=(str(number),))


async def take(events: AsyncIterator[MemoriesChanged], count: int) -> list[int]:
    with anyio.fail_after(60):
        return [int((await anext(events)).memory_ids[0]) for _ in range(count)]


async def test_every_listener_gets_every_event_in_order(bus: Bus) -> None:
    async with bus.subscribe() as one, bus.subscribe() as other:
        for number in range(3):
            await bus.publish(event(number))

        assert await take(one, 3) == [0, 1, 2]
        assert await take(other, 3) == [0, 1, 2]


async def test_an_event_without_listeners_is_gone(bus: Bus) -> None:
    await bus.publish(event(0))
    async with bus.subscribe() as events:
        await bus.publish(event(1))

        assert await take(events, 1) == [1]


async def test_a_listener_that_falls_behind_loses_the_oldest_events(bus: Bus) -> None:
    async with bus.subscribe() as events:
        with anyio.fail_after(60):
            for number in range(BACKLOG + 3):
                await bus.publish(event(number))

        assert await take(events, BACKLOG) == list(range(3, BACKLOG + 3))


async def test_a_waiting_listener_is_woken(bus: Bus) -> None:
    received: list[int] = []
    listening = anyio.Event()

    async def listen() -> None:
        async with bus.subscribe() as events:
            listening.set()
            received.extend(await take(events, 1))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await listening.wait()
            await bus.publish(event(7))

    assert received == [7]


async def test_a_listener_that_left_is_forgotten(bus: Bus) -> None:
    async with bus.subscribe() as events:
        async with bus.subscribe():
            pass
        await bus.publish(event(1))

        assert await take(events, 1) == [1]
