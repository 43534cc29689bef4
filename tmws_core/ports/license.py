"""Where the licence comes from."""

from typing import Protocol

from tmws_core.domain.license import License


class LicenseSource(Protocol):
    """Knows the licence in force."""

    async def current(self) -> License:
        """Return the licence in force now."""
        ...
