"""The generic cell rate algorithm: how often something may be done, remembered in one number."""

_SECOND = 1_000_000_000
"""Nanoseconds. Whole numbers of them add up without error: a burst has all requests of a period, and not one less."""


def interval(requests: int, seconds: float) -> int:
    """Return the nanoseconds after which one request is given back: rounded up, so that no period has more."""
    return max(1, -int(-seconds * _SECOND // requests))


def take(arrival: int, now: int, requests: int, seconds: float) -> tuple[int, float]:
    """Take one request at the moment `now`: the arrival to remember, and 0; or the same arrival, and seconds to wait.

    `arrival` is when all requests are given back, and `now` the present, in nanoseconds of one clock that is never set
    back; an arrival that is past is as good as none. `requests` may come at once, then one each `seconds / requests`.
    """
    step = interval(requests, seconds)
    earliest = arrival - step * (requests - 1)
    if now < earliest:
        return arrival, (earliest - now) / _SECOND
    return max(arrival, now) + step, 0.0
