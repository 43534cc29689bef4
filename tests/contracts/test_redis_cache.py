"""A cache that servers share."""

import pytest

from tests.contracts.redis_steps import local, running
from tests.servers.redis import RedisProcess
from tmws_adapters.redis import redis_at
from tmws_adapters.redis.cache import LARGEST, SECONDS

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(redis_server: RedisProcess) -> RedisProcess:
    redis_server.send("FLUSHALL")
    return redis_server


async def test_what_one_server_has_put_another_finds(server: RedisProcess) -> None:
    async with running(server.url) as one, running(server.url) as other:
        await one.cache.put("a", b"1")
        assert await other.cache.get("a") == b"1"


async def test_what_was_found_is_not_asked_for_again(server: RedisProcess) -> None:
    async with running(server.url) as one, running(server.url) as other:
        await one.cache.put("a", b"1")
        await other.cache.get("a")
        server.send("FLUSHALL")
        assert await other.cache.get("a") == b"1"


async def test_what_the_process_has_forgotten_redis_knows(server: RedisProcess) -> None:
    async with running(server.url) as redis:
        for number in range(10):
            await redis.cache.put(f"key {number}", str(number).encode())
        assert [await redis.cache.get(f"key {number}") for number in range(10)] == [b"%d" % n for n in range(10)]


async def test_a_value_is_kept_for_a_day(server: RedisProcess) -> None:
    async with running(server.url) as redis:
        await redis.cache.put("a", b"1")
        (key,) = await redis.server.command("KEYS", "tmws:cache:*")
        assert SECONDS - 60 < await redis.server.command("TTL", key) <= SECONDS


async def test_a_large_value_stays_in_the_process(server: RedisProcess) -> None:
    async with running(server.url) as one, running(server.url) as other:
        await one.cache.put("a", bytes(LARGEST + 1))
        await one.cache.put("b", bytes(LARGEST))
        assert await one.cache.get("a") == bytes(LARGEST + 1)
        assert await other.cache.get("a") is None
        assert await other.cache.get("b") == bytes(LARGEST)


async def test_redis_does_not_see_what_was_asked(server: RedisProcess) -> None:
    async with running(server.url) as redis:
        await redis.cache.put("query: who is ill?", b"1")
        assert [key for key in await redis.server.command("KEYS", "*") if b"ill" in key] == []


async def test_before_it_runs_it_is_the_cache_of_the_process() -> None:
    redis = redis_at("redis://127.0.0.1:1", local(), pool_size=1)
    await redis.cache.put("a", b"1")
    assert await redis.cache.get("a") == b"1"
    assert await redis.cache.get("b") is None
