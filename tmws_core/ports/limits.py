"""Limits of how often something may be done."""

from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Rate:
    """`requests` in `seconds`, all of them at once if one likes; then one each `seconds / requests`."""

    requests: int
    seconds: float


class RateLimiter(Protocol):
    """Counts by key; safe for any number of tasks."""

    async def take(self, key: str, rate: Rate) -> float:
        """Take one of what the key has and return 0, or take nothing and return the seconds until there is one."""
        ...
