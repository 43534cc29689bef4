"""Licences: the tiers, what they allow, and until when."""

import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

GRACE = timedelta(days=7)
"""How long a licence goes on after it has expired: decided, so that a renewal may be a week late."""

WARNING_DAYS = 30
"""Days before the end from which it is announced: what the renewal of a contract takes."""

Status = Literal["valid", "grace", "expired", "free", "development"]


class Tier(enum.Enum):
    """What was bought; DEVELOPMENT is what holds where nobody has to buy anything yet, and no key has it."""

    FREE = "FREE"
    STANDARD = "STANDARD"
    ENTERPRISE = "ENTERPRISE"
    DEVELOPMENT = "DEVELOPMENT"


SOLD = (Tier.FREE, Tier.STANDARD, Tier.ENTERPRISE)
"""The tiers that keys are issued for."""


@attrs.frozen
class Allowance:
    """What a tier allows: agents that may write (None: any number), and features."""

    seats: int | None
    features: tuple[str, ...]


ALLOWANCES: Mapping[Tier, Allowance] = {
    Tier.FREE: Allowance(1, ("core",)),
    Tier.STANDARD: Allowance(10, ("core", "email_support")),
    Tier.ENTERPRISE: Allowance(None, ("unlimited_agents", "priority_support", "custom_integrations")),
    Tier.DEVELOPMENT: Allowance(
        None, ("core", "email_support", "unlimited_agents", "priority_support", "custom_integrations")
    ),
}
"""What each tier allows; an ENTERPRISE licence names only what it has beside the core."""


@attrs.frozen(kw_only=True)
class License:
    """A licence at one moment: `tier` is what was bought, `seats` and `features` are what is in force.

    `status` is the word that `/health` shows: an expired licence allows what FREE allows. `expires` is None for one
    that never does; `days_left` counts calendar days in UTC until then, 0 on the last one, and less than 0 afterwards.
    """

    tier: Tier
    status: Status
    seats: int | None
    features: tuple[str, ...]
    expires: datetime | None = None
    days_left: int | None = None

    @property
    def grace_until(self) -> datetime | None:
        """Return when FREE limits begin, or None for never."""
        return None if self.expires is None else self.expires + GRACE

    @property
    def title(self) -> str:
        """Return the name by which its limits make sense."""
        return f"expired {self.tier.value}" if self.status == "expired" else self.tier.value

    @property
    def warning(self) -> str:
        """Say what to know of a licence that has ended or ends within WARNING_DAYS, or the empty string."""
        if self.expires is None or self.days_left is None or self.days_left > WARNING_DAYS:
            return ""
        if self.status == "valid":
            return "expires today" if self.days_left == 0 else f"expires in {self.days_left} days"
        past = f"expired on {instant(self.expires)}"
        if self.status == "grace":
            return f"{past}; FREE limits begin after {instant(self.expires + GRACE)}: renew it"
        return f"{past}, and FREE limits hold: renew it"


FREE = License(
    tier=Tier.FREE, status="free", seats=ALLOWANCES[Tier.FREE].seats, features=ALLOWANCES[Tier.FREE].features
)
"""What holds with a FREE key, with one that does not hold, and without a key outside of development."""

DEVELOPMENT = License(
    tier=Tier.DEVELOPMENT,
    status="development",
    seats=ALLOWANCES[Tier.DEVELOPMENT].seats,
    features=ALLOWANCES[Tier.DEVELOPMENT].features,
)
"""What holds without a key in development."""


def license_of(tier: Tier, expires: datetime | None, now: datetime) -> License:
    """Return a licence as it is at a moment."""
    if tier is Tier.FREE:
        return FREE
    allowed, status = ALLOWANCES[tier], _status(expires, now)
    if status == "expired":
        allowed = ALLOWANCES[Tier.FREE]
    return License(
        tier=tier,
        status=status,
        seats=allowed.seats,
        features=allowed.features,
        expires=expires,
        days_left=None if expires is None else (expires.date() - now.astimezone(UTC).date()).days,
    )


def instant(moment: datetime) -> str:
    """Return a time as it is shown: RFC 3339, to the second."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _status(expires: datetime | None, now: datetime) -> Status:
    if expires is None or now <= expires:
        return "valid"
    return "grace" if now <= expires + GRACE else "expired"
