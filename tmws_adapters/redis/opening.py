"""What servers share by Redis, opened together."""

import anyio
import attrs

from tmws_adapters.redis.address import parse_address
from tmws_adapters.redis.bus import RedisBus
from tmws_adapters.redis.cache import RedisCache
from tmws_adapters.redis.limiter import RedisLimiter
from tmws_adapters.redis.server import PATIENCE, Server
from tmws_core.errors import PartUnavailable
from tmws_core.ports.bus import Bus
from tmws_core.ports.cache import Cache
from tmws_core.ports.limits import RateLimiter


@attrs.frozen(kw_only=True)
class Local:
    """What a server has of its own: beside Redis, and alone while Redis is down."""

    cache: Cache
    limiter: RateLimiter
    bus: Bus


@attrs.frozen(kw_only=True)
class Redis:
    """Cache, limiter and bus over one Redis."""

    server: Server
    cache: RedisCache
    limiter: RedisLimiter
    bus: RedisBus

    async def run(self) -> None:
        """Stay connected, send and receive, for as long as it is let; until it runs every server is alone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.server.run)
            tasks.start_soon(self.bus.run)

    async def health(self) -> None:
        """Return if everything works.

        Raises:
            PartUnavailable: it does not; the reason says what this server does meanwhile.
        """
        try:
            await self.server.health()
        except PartUnavailable as error:
            reason = f"{error.reason}; this server works alone meanwhile, and rate limits count in it only"
            raise attrs.evolve(error, reason=reason) from None
        if self.bus.problem is not None:
            reason = f"{self.bus.problem.reason}; nothing is heard from other servers"
            raise attrs.evolve(self.bus.problem, reason=reason)


def redis_at(url: str, local: Local, *, pool_size: int, patience: float = PATIENCE) -> Redis:
    """Return what is shared by the Redis at a URL; nothing is connected before it runs.

    `pool_size` bounds the commands at once, and so the connections, of which the bus has one more. `patience` is in
    seconds.

    Raises:
        ConfigurationError: the URL names no Redis; see `parse_address`.
    """
    server = Server(parse_address(url), pool_size, patience)
    return Redis(
        server=server,
        cache=RedisCache(server, local.cache),
        limiter=RedisLimiter(server, local.limiter),
        bus=RedisBus(server, local.bus),
    )
