"""Where the licence comes from."""

from datetime import datetime
from typing import Protocol

from tmws_core.domain.license import License


class LicenseSource(Protocol):
    """Knows the licence in force."""

    async def current(self) -> License:
        """Return the licence in force now; it does not fail."""
        ...


class LicenseClock(Protocol):
    """Remembers the latest time at which a licence was looked at, so that setting the clock back does not extend it."""

    async def last_seen(self) -> datetime | None:
        """Return that time, or None where no licence was looked at; may raise a StorageUnavailable."""
        ...

    async def note(self, now: datetime) -> datetime:
        """Remember a time unless it lies before, durably, and return the latest; may raise a StorageUnavailable."""
        ...
