"""Licences: the tiers and what they allow."""

import enum

import attrs


class Tier(enum.Enum):
    """What was bought."""

    FREE = "FREE"
    STANDARD = "STANDARD"
    ENTERPRISE = "ENTERPRISE"


@attrs.frozen(kw_only=True)
class License:
    """The licence in force. `status` is the word that `/health` shows."""

    tier: Tier
    status: str
    features: tuple[str, ...]


FREE = License(tier=Tier.FREE, status="free", features=("core",))
"""What holds without a key."""
