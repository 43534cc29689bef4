"""A Redis that answers is not given up because this process has much else to do."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.contracts.redis_steps import running
from tests.servers.redis import RedisProcess
from tmws_adapters.redis.address import parse_address
from tmws_adapters.redis.server import OPEN_SECONDS, PATIENCE, Server

pytestmark = pytest.mark.anyio


@contextmanager
def late_loop(seconds: float) -> Iterator[None]:
    """Let each pass of the event loop take so long, as the work of others does."""
    loop = asyncio.get_running_loop()
    is_late = True

    def hold_up() -> None:
        if is_late:
            time.sleep(seconds)
            loop.call_soon(hold_up)

    hold_up()
    try:
        yield
    finally:
        is_late = False


async def test_a_loop_that_is_late_does_not_make_redis_seem_gone(redis_server: RedisProcess) -> None:
    async with running(redis_server.url, patience=PATIENCE) as redis:
        with late_loop(1.2 * PATIENCE):
            for _ in range(3):
                assert await redis.server.command("PING") in (True, b"PONG")
        await redis.health()


async def test_a_server_that_is_late_connects(redis_server: RedisProcess) -> None:
    with late_loop(0.08 * OPEN_SECONDS):
        await Server(parse_address(redis_server.url), 1).examine()
