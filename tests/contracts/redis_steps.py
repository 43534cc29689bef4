"""What the contracts over Redis have in common."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tmws_adapters.inprocess import InprocessBus, InprocessLimiter, LruCache
from tmws_adapters.redis import Local, Redis, redis_at
from tmws_adapters.redis.server import Server
from tmws_adapters.system import SystemClock

KINDS = ("redis_server", "redis_tls", "redis_sentinels", "redis_cluster")
"""The fixtures of one server with a password, one with TLS, a group with Sentinels, and a cluster; each has a `url`."""

POOL = 10
PATIENCE = 10.0
"""Seconds: where a test is not about waiting, a slow machine is no reason to do without Redis."""


def url_of(request: pytest.FixtureRequest, kind: str) -> str:
    """Return the URL of a server, which is started for it."""
    url: str = request.getfixturevalue(kind).url
    return url


def local() -> Local:
    return Local(cache=LruCache(3), limiter=InprocessLimiter(SystemClock()), bus=InprocessBus())


@asynccontextmanager
async def running(url: str, *, own: Local | None = None, patience: float = PATIENCE) -> AsyncIterator[Redis]:
    """Run what one server has of a Redis, connected."""
    redis = redis_at(url, own or local(), pool_size=POOL, patience=patience)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis.run)
        with anyio.fail_after(PATIENCE):
            await redis.server.up()
        yield redis
        tasks.cancel_scope.cancel()


async def let_pass(server: Server, key: str, milliseconds: int) -> None:
    """Move a limit's arrival as if time had passed: the clock of a server cannot be moved by hand."""
    kept = await server.command("GET", key)
    if kept is not None:
        micros, _, nanos = kept.decode().partition(".")
        expiry = await server.command("PTTL", key) - milliseconds
        moved = f"{int(micros) - milliseconds * 1000}.{nanos}"
        await server.command("SET", key, moved, "PX", max(expiry, 0) + 2)  # the answer is rounded
