"""A bus between servers."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest

from tests.contracts.redis_steps import KINDS, running, url_of
from tests.servers.redis import DATABASE, RedisProcess, redis_process
from tmws_adapters.redis import Redis
from tmws_adapters.redis.address import Address
from tmws_adapters.redis.bus import BACKLOG, KEPT, STREAM
from tmws_adapters.redis.clients import Client, open_client
from tmws_adapters.redis.server import Server
from tmws_core.domain.events import MemoriesChanged
from tmws_core.errors import PartUnavailable

pytestmark = pytest.mark.anyio

SOMETHING = MemoriesChanged(memory_ids=())


@pytest.fixture
def server(redis_server: RedisProcess) -> RedisProcess:
    redis_server.send("FLUSHALL")
    return redis_server


def event(number: int) -> MemoriesChanged:
    return MemoriesChanged(memory_ids=(str(number),), unembedded=number)


async def take(events: AsyncIterator[MemoriesChanged], count: int) -> list[MemoriesChanged]:
    with anyio.fail_after(60):
        return [await anext(events) for _ in range(count)]


async def listening(*servers: Redis) -> None:
    """Wait until servers hear what others publish."""
    with anyio.fail_after(60):
        for redis in servers:
            await redis.bus.connected()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_one_server_publishes_another_hears_in_order(kind: str, request: pytest.FixtureRequest) -> None:
    url = url_of(request, kind)
    async with running(url) as one, running(url) as other, other.bus.subscribe() as events:
        await listening(other)
        for number in range(50):
            await one.bus.publish(event(number))
        assert await take(events, 50) == [event(number) for number in range(50)]


async def test_own_events_come_at_once_and_only_once(server: RedisProcess) -> None:
    async with running(server.url) as one, running(server.url) as other, one.bus.subscribe() as events:
        await listening(one, other)
        await one.bus.publish(event(1))
        assert await take(events, 1) == [event(1)]
        async with other.bus.subscribe() as heard:
            assert await take(heard, 1) == [event(1)]
        await other.bus.publish(event(2))
        assert await take(events, 1) == [event(2)]


async def test_redis_keeps_a_bounded_number_of_events(server: RedisProcess) -> None:
    async with running(server.url) as one, running(server.url) as other, other.bus.subscribe() as events:
        await listening(other)
        for number in range(KEPT + BACKLOG):
            await one.bus.publish(event(number))
            assert await take(events, 1) == [event(number)]
        assert KEPT <= await one.server.command("XLEN", STREAM) < KEPT + BACKLOG


async def test_events_of_another_version_are_hints(server: RedisProcess) -> None:
    async with running(server.url) as redis, redis.bus.subscribe() as events:
        await listening(redis)
        for data in (b"", b"[3]", b"[{}]", b"no JSON", orjson.dumps([{"memory_ids": 3, "unembedded": 0}])):
            await redis.server.command("XADD", STREAM, "*", "server", "another", "events", data)
        await redis.server.command("XADD", STREAM, "*", "something", "else")
        assert await take(events, 6) == [SOMETHING] * 6


async def test_without_redis_own_events_are_heard_and_the_newest_are_sent_when_it_is_back() -> None:
    with redis_process() as server:
        async with (
            running(server.url) as one,
            running(server.url) as other,
            one.bus.subscribe() as own,
            other.bus.subscribe() as heard,
        ):
            await listening(one, other)
            server.stop()
            for number in range(BACKLOG + 5):
                await one.bus.publish(event(number))
            with pytest.raises(PartUnavailable):
                await one.health()
            assert await take(own, 2) == [event(5), event(6)]
            server.start()
            received = await take(heard, 1)
            while event(BACKLOG + 4) not in received:
                received += await take(heard, 1)
            assert SOMETHING in received


async def test_whoever_missed_more_than_is_kept_is_told_that_something_happened(server: RedisProcess) -> None:
    data = orjson.dumps([{"memory_ids": ["m"], "unembedded": 0}])
    async with running(server.url) as redis, redis.bus.subscribe() as events:
        await listening(redis)
        with server.client(DATABASE) as client, client.pipeline() as pipeline:
            for _ in range(2 * KEPT):
                pipeline.xadd(STREAM, {"server": "another", "events": data}, maxlen=KEPT)
            pipeline.execute()
        assert SOMETHING in await take(events, BACKLOG)


async def test_whoever_waits_for_a_bus_is_told_however_often_it_cannot_be_heard(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0
    let_go, twice = anyio.Event(), anyio.Event()

    def open_at_last(address: Address, seconds: float) -> AbstractAsyncContextManager[Client]:
        nonlocal failures
        if let_go.is_set():
            return open_client(address, seconds)
        failures += 1
        if failures > 1:
            twice.set()
        raise ConnectionError

    monkeypatch.setattr("tmws_adapters.redis.bus.open_client", open_at_last)
    async with running(server.url) as redis, anyio.create_task_group() as tasks:
        tasks.start_soon(listening, redis)
        with anyio.fail_after(60):
            await twice.wait()
        let_go.set()


async def test_a_stream_that_begins_anew_is_read_from_its_beginning(server: RedisProcess) -> None:
    async with running(server.url) as one, running(server.url) as other, other.bus.subscribe() as events:
        await listening(other)
        await one.server.command("XADD", STREAM, "9999999999999-0", "server", "another", "events", b"")
        assert await take(events, 1) == [SOMETHING]
        server.send("FLUSHALL")
        server.send("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
        assert await take(events, 1) == [SOMETHING]
        await one.bus.publish(event(1))
        assert await take(events, 1) == [event(1)]


async def test_events_that_could_not_be_sent_come_before_those_published_meanwhile(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, failed = Server.command, anyio.Event()

    async def fail_once(self: Server, *arguments: Any) -> Any:
        if arguments[0] != "XADD" or failed.is_set():
            return await command(self, *arguments)
        failed.set()
        await one.bus.publish(event(2))
        raise PartUnavailable(part="redis", reason="gone")

    monkeypatch.setattr(Server, "command", fail_once)
    async with running(server.url) as one, running(server.url) as other, other.bus.subscribe() as heard:
        await listening(other)
        await one.bus.publish(event(1))
        assert await take(heard, 2) == [event(1), event(2)]


async def test_a_server_that_hangs_is_no_longer_heard() -> None:
    with redis_process() as server:
        async with running(server.url) as redis:
            await listening(redis)
            with server.frozen(), anyio.fail_after(60):
                while redis.bus.problem is None:
                    await anyio.lowlevel.checkpoint()


async def test_no_more_events_wait_than_the_backlog_however_often_sending_fails(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, failures = Server.command, 2

    async def fail_twice(self: Server, *arguments: Any) -> Any:
        nonlocal failures
        if arguments[0] != "XADD" or not failures:
            return await command(self, *arguments)
        failures -= 1
        for number in range(BACKLOG):
            await one.bus.publish(event(number))
        raise PartUnavailable(part="redis", reason="gone")

    monkeypatch.setattr(Server, "command", fail_twice)
    async with running(server.url) as one, running(server.url) as other, other.bus.subscribe() as heard:
        await listening(other)
        await one.bus.publish(event(BACKLOG))
        await take(heard, 1)
        [(_, fields)] = await one.server.command("XRANGE", STREAM, "-", "+")
    assert [each["unembedded"] for each in orjson.loads(fields[b"events"])] == [*range(BACKLOG)]
