"""A clock that the test sets."""

from datetime import datetime

import attrs


@attrs.define
class SettableClock:
    """A clock that the test sets."""

    time: datetime

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()
