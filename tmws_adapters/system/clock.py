"""The machine's clock."""

import time
from datetime import UTC, datetime

import attrs


@attrs.frozen
class SystemClock:
    """A Clock that reads the machine's."""

    def now(self) -> datetime:
        """Return the time in UTC, with its zone, to the microsecond."""
        return datetime.now(UTC)  # noqa: TID251 - this is the port's adapter

    def monotonic(self) -> float:
        """Return seconds from an arbitrary beginning, for measuring durations."""
        return time.perf_counter()
