"""The licence that holds without a key."""

import attrs

from tmws_core.domain.license import FREE, License


@attrs.frozen
class FreeLicense:
    """A LicenseSource that knows the free tier only."""

    async def current(self) -> License:
        """Return the licence in force now."""
        return FREE
