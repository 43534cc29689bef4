"""Rate limits that several servers count together."""

import attrs

from tmws_adapters.redis.server import Server
from tmws_core.domain.gcra import interval
from tmws_core.errors import PartUnavailable
from tmws_core.ports.limits import Rate, RateLimiter

_SECOND = 1_000_000_000
"""Nanoseconds."""

_PREFIX = "tmws:limit:"

_TAKE = """
local step, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead = 0
local kept = redis.call('GET', KEYS[1])
if kept then
  local micros, nanos = string.match(kept, '^(%d+)%.(%d+)$')
  ahead = math.min(math.max((micros - now) * 1000 + nanos, 0), step * burst)
end
local wait = ahead - step * (burst - 1)
if wait > 0 then
  return {wait, now}
end
ahead = ahead + step
local micros = math.floor(ahead / 1000)
local arrival = string.format('%.0f.%d', now + micros, ahead - micros * 1000)
redis.call('SET', KEYS[1], arrival, 'PX', math.ceil(ahead / 1000000))
return {0, now}
"""
"""tmws_core.domain.gcra.take, with the time of the server.

Numbers in Lua are exact to 2^53: enough for microseconds since 1970 and for the nanoseconds of a few periods, but not
for nanoseconds since 1970, so that the arrival is kept as microseconds and the nanoseconds that are left. An arrival
that is further ahead than all requests together can only come from a clock that was set back; it counts as those.
"""


@attrs.frozen
class RedisLimiter:
    """A RateLimiter that counts at the server; while that is down, `local` counts for this process alone."""

    _server: Server
    _local: RateLimiter

    async def take(self, key: str, rate: Rate) -> float:
        """Take one of what the key has and return 0, or take nothing and return the seconds until there is one."""
        try:
            wait, _ = await self.counted(key, rate)
        except PartUnavailable:
            return await self._local.take(key, rate)
        return wait / _SECOND

    async def counted(self, key: str, rate: Rate) -> tuple[int, int]:
        """Return the nanoseconds to wait, and the time of the server in microseconds; PartUnavailable if it is down."""
        step = interval(rate.requests, rate.seconds)
        wait, now = await self._server.command("EVAL", _TAKE, 1, _PREFIX + key, step, rate.requests)
        return int(wait), int(now)
