"""Rate limits that are counted in this process."""

from collections import OrderedDict

import attrs

from tmws_core.domain.gcra import take
from tmws_core.ports.limits import Rate
from tmws_core.ports.system import Clock

KEYS = 50_000
"""Keys that are remembered: 10 MB (measured with IPv6 prefixes)."""

_SECOND = 1_000_000_000
"""Nanoseconds."""

_SWEPT = 2
"""Keys that are looked at for being forgotten, each time that one is added: more than come."""


@attrs.define(eq=False)
class InprocessLimiter:
    """A RateLimiter that forgets keys that have all their requests back, and above `capacity` the longest unused."""

    _clock: Clock
    _capacity: int = attrs.field(default=KEYS, validator=attrs.validators.ge(1))
    _arrivals: OrderedDict[str, int] = attrs.field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._arrivals)

    async def take(self, key: str, rate: Rate) -> float:
        """Take one of what the key has and return 0, or take nothing and return the seconds until there is one."""
        now = int(self._clock.monotonic() * _SECOND)
        self._forget(now, key)
        self._arrivals[key], wait = take(self._arrivals.get(key, now), now, rate.requests, rate.seconds)
        self._arrivals.move_to_end(key)
        return wait

    def _forget(self, now: int, key: str) -> None:
        """Make room for a key, from the end where the longest unused keys are."""
        if key in self._arrivals:
            return
        for _ in range(_SWEPT):
            if not self._arrivals:
                return
            oldest, arrival = next(iter(self._arrivals.items()))
            if arrival > now and len(self._arrivals) < self._capacity:
                return
            del self._arrivals[oldest]
