"""Time and chance."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the time in UTC, with its zone, to the microsecond."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary beginning, for measuring durations."""
        ...


class Ids(Protocol):
    """Makes identifiers."""

    def new(self) -> str:
        """Return a UUIDv7 that sorts after all that this process returned before."""
        ...
