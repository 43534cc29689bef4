"""A clock that goes on when it is told to."""

from datetime import UTC, datetime, timedelta

import attrs

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@attrs.define
class HandClock:
    """A clock that goes on when it is told to."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds
