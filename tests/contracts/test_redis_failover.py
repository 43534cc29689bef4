"""Redis goes and comes back: no request fails, none waits, and what servers share is shared again soon."""

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.contracts.redis_steps import KINDS, local, running, url_of
from tests.servers.certificates import certificates_in
from tests.servers.redis import RedisProcess, encrypted_redis, redis_process, until
from tests.servers.redis_groups import PRIMARIES, SERVICE, cluster, sentinel_group
from tmws_adapters.redis import Redis, redis_at
from tmws_adapters.redis.bus import STREAM
from tmws_adapters.redis.server import PATIENCE
from tmws_core.domain.events import MemoriesChanged
from tmws_core.errors import PartUnavailable
from tmws_core.ports.limits import Rate

pytestmark = pytest.mark.anyio

RATE = Rate(requests=1_000_000, seconds=3600)

AFTER = 10.0
"""Seconds after which something is wrong, however busy the machine is; on a quiet one it takes 0.1 to 0.9."""

SLOW = 5.0
"""Seconds after which a request has waited for Redis, however busy the machine is; on a quiet one it takes 0.3."""

LIMIT = 30
"""Seconds for anything at all."""

PACE = 0.005
"""Seconds between two requests of one client."""

_keys = count(1)


@attrs.define
class Traffic:
    """What requests that never stop have met; an error ends the test by itself."""

    requests: int = 0
    slowest: float = 0.0
    _answered: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def note(self, seconds: float) -> None:
        self.requests += 1
        self.slowest = max(self.slowest, seconds)
        self._answered.set()
        self._answered = anyio.Event()

    async def more(self, requests: int) -> None:
        """Wait until that many more were answered."""
        goal = self.requests + requests
        with anyio.fail_after(LIMIT):
            while self.requests < goal:
                await self._answered.wait()


@asynccontextmanager
async def traffic(*servers: Redis, clients: int = 3) -> AsyncIterator[Traffic]:
    """Let clients ask everything there is during the block."""
    seen = Traffic()

    async def ask(redis: Redis) -> None:
        while True:
            key = str(next(_keys))
            began = time.monotonic()
            await redis.cache.put(key, key.encode())
            assert await redis.cache.get(key) in (key.encode(), None)
            assert await redis.cache.get(f"unknown {key}") is None
            assert await redis.limiter.take("busy", RATE) == 0
            await redis.bus.publish(MemoriesChanged(memory_ids=(key,)))
            seen.note(time.monotonic() - began)
            await anyio.sleep(PACE)

    async with anyio.create_task_group() as tasks:
        for redis in servers:
            for _ in range(clients):
                tasks.start_soon(ask, redis)
        yield seen
        tasks.cancel_scope.cancel()


async def shared_again(*servers: Redis) -> None:
    """Wait until limits are counted at the server, and events of one server come to another."""
    with anyio.fail_after(LIMIT):
        for redis in servers:
            while not await counts(redis):
                await redis.server.up()
        for redis in servers:
            await redis.bus.connected()
        await heard(servers[0], servers[-1])


async def counts(redis: Redis) -> bool:
    try:
        await redis.limiter.counted("counted", RATE)
    except PartUnavailable:
        await anyio.sleep(PACE)
        return False
    return True


async def heard(sender: Redis, listener: Redis) -> None:
    """Publish until it is heard: an event that was on its way may be lost with a server."""
    async with listener.bus.subscribe() as events:
        for number in count():
            await sender.bus.publish(MemoriesChanged(memory_ids=(f"heard {number}",)))
            with anyio.move_on_after(0.1):
                async for event in events:
                    if event.memory_ids[:1] and event.memory_ids[0].startswith("heard"):
                        return


async def becomes_true(condition: Callable[[], object], what: str) -> None:
    """Wait as the test servers do, beside the traffic."""
    await anyio.to_thread.run_sync(until, condition, what)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_failover_of_sentinels_is_followed(tmp_path: Path, *, encrypted: bool) -> None:
    with sentinel_group(certificates_in(tmp_path) if encrypted else None) as group:
        async with running(group.url, patience=PATIENCE) as one, running(group.url, patience=PATIENCE) as other:
            await shared_again(one, other)
            async with traffic(one, other) as seen:
                primary, replica = group.servers
                primary.stop()
                await becomes_true(lambda: group.names(replica), "the replica is the primary")
                elected = time.monotonic()
                await shared_again(one, other)
                assert time.monotonic() - elected <= AFTER
            assert seen.slowest < SLOW


async def test_a_primary_that_was_made_a_replica_is_left() -> None:
    """Its connections stay open, and it refuses to be written."""
    with sentinel_group() as group:
        async with running(group.url, patience=PATIENCE) as one, running(group.url, patience=PATIENCE) as other:
            await shared_again(one, other)
            async with traffic(one, other) as seen:
                primary, replica = group.servers
                group.sentinels[0].send("SENTINEL", "FAILOVER", SERVICE)
                await becomes_true(lambda: group.names(replica), "the replica is the primary")
                primary.send("REPLICAOF", "127.0.0.1", replica.port)  # as the Sentinels do ten seconds later
                elected = time.monotonic()
                await shared_again(one, other)
                assert time.monotonic() - elected <= AFTER
            assert seen.slowest < SLOW


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_lost_node_of_a_cluster_is_replaced(tmp_path: Path, *, encrypted: bool) -> None:
    with cluster(certificates_in(tmp_path) if encrypted else None) as group:
        async with running(group.url, patience=PATIENCE) as one, running(group.url, patience=PATIENCE) as other:
            await shared_again(one, other)
            async with traffic(one, other) as seen:
                lost = group.primary_of(STREAM)
                replica = group.nodes[group.nodes.index(lost) + PRIMARIES]
                witness = next(node for node in group.nodes if node not in (lost, replica))
                lost.stop()
                await becomes_true(lambda: replica.send("ROLE")[0] == b"master", "the replica is a primary")
                await becomes_true(lambda: b"state:ok" in witness.send("CLUSTER", "INFO"), "the cluster is complete")
                elected = time.monotonic()
                await shared_again(one, other)
                assert time.monotonic() - elected <= AFTER
            assert seen.slowest < SLOW


async def test_a_server_that_died_is_used_again_when_it_is_back() -> None:
    with redis_process() as server:
        async with running(server.url, patience=PATIENCE) as one, running(server.url, patience=PATIENCE) as other:
            await shared_again(one, other)
            async with traffic(one, other) as seen:
                for _ in range(2):
                    server.stop()
                    with anyio.fail_after(LIMIT):
                        while await counts(one):
                            pass
                    with pytest.raises(PartUnavailable, match="rate limits count in it only"):
                        await one.health()
                    server.start()
                    started = time.monotonic()
                    await shared_again(one, other)
                    assert time.monotonic() - started <= AFTER
                    await one.health()
            assert seen.slowest < SLOW


async def test_a_server_that_hangs_keeps_nobody_waiting() -> None:
    with redis_process() as server:
        async with running(server.url, patience=PATIENCE) as one, running(server.url, patience=PATIENCE) as other:
            await shared_again(one, other)
            async with traffic(one, other) as seen:
                with server.frozen():
                    await seen.more(500)
                thawed = time.monotonic()
                await shared_again(one, other)
                assert time.monotonic() - thawed <= AFTER
            assert seen.slowest < SLOW


@pytest.mark.parametrize("kind", KINDS)
async def test_connections_that_are_dropped_are_made_again(kind: str, request: pytest.FixtureRequest) -> None:
    url = url_of(request, kind)
    started = request.getfixturevalue(kind)
    servers: tuple[RedisProcess, ...] = (
        (started,) if isinstance(started, RedisProcess) else getattr(started, "servers", ()) or started.nodes
    )
    async with running(url, patience=PATIENCE) as one, running(url, patience=PATIENCE) as other:
        await shared_again(one, other)
        async with traffic(one, other) as seen:
            for _ in range(5):
                for server in servers:
                    server.send("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
                await seen.more(20)
            dropped = time.monotonic()
            await shared_again(one, other)
            assert time.monotonic() - dropped <= AFTER
        assert seen.slowest < SLOW


async def test_a_server_whose_certificate_is_refused_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    with encrypted_redis() as server:
        assert server.files
        redis = redis_at(
            f"rediss://{server.where}/?ssl_ca_certs={server.files.stranger}", local(), pool_size=2, patience=PATIENCE
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(redis.run)
            with anyio.fail_after(LIMIT):
                await redis.server.attempted()
            async with traffic(redis) as seen:
                await seen.more(200)
            with pytest.raises(PartUnavailable, match=r"the certificate of .* is refused"):
                await redis.health()
            tasks.cancel_scope.cancel()
    assert seen.slowest < SLOW
    assert [record.message for record in caplog.records if "ssl_ca_certs" in record.message]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_never_goes_to_another_question(kind: str, request: pytest.FixtureRequest) -> None:
    """Whoever gives up leaves an answer behind: the connection on which it comes must not be used again."""
    chance = random.Random(7)
    async with running(url_of(request, kind), patience=PATIENCE) as redis:
        for number in range(50):
            await redis.server.command("SET", f"tmws:answer:{number}", number)
        right = wrong = 0

        async def ask(number: int, patience: float) -> None:
            nonlocal right, wrong
            with anyio.move_on_after(patience):
                try:
                    answer = await redis.server.command("GET", f"tmws:answer:{number}")
                except PartUnavailable:
                    return
                right += int(answer) == number
                wrong += int(answer) != number

        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(ask, chance.randrange(50), chance.choice([0.0005, 0.001, 0.002, 0.004, 1]))
            await redis.server.up()
        assert right
        assert not wrong
