"""The contract of Cache."""

from collections.abc import AsyncIterator

import pytest

from tests.contracts.redis_steps import KINDS, running, url_of
from tmws_adapters.inprocess import LruCache
from tmws_core.ports.cache import Cache

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["inprocess", *KINDS])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    if request.param == "inprocess":
        yield LruCache(3)
        return
    async with running(url_of(request, request.param)) as redis:
        yield redis.cache


async def test_what_was_put_is_found(cache: Cache) -> None:
    await cache.put("a", b"1")

    assert await cache.get("a") == b"1"


async def test_an_empty_value_is_a_value(cache: Cache) -> None:
    await cache.put("a", b"")

    assert await cache.get("a") == b""


async def test_an_unknown_key_finds_nothing(cache: Cache) -> None:
    assert await cache.get("never put") is None


async def test_a_second_value_takes_the_place_of_the_first(cache: Cache) -> None:
    await cache.put("a", b"1")
    await cache.put("a", b"2")

    assert await cache.get("a") == b"2"


async def test_a_full_cache_forgets_what_was_not_used_for_the_longest_time() -> None:
    cache = LruCache(2)
    await cache.put("a", b"1")
    await cache.put("b", b"2")
    await cache.get("a")

    await cache.put("c", b"3")

    assert [await cache.get(key) for key in "abc"] == [b"1", None, b"3"]


async def test_putting_a_value_again_counts_as_use() -> None:
    cache = LruCache(2)
    await cache.put("a", b"1")
    await cache.put("b", b"2")
    await cache.put("a", b"3")

    await cache.put("c", b"4")

    assert [await cache.get(key) for key in "abc"] == [b"3", None, b"4"]


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="_capacity"):
        LruCache(0)
