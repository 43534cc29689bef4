"""Licences for tests, and what they are issued with."""

import base64
from datetime import UTC, date, datetime

from tmws_adapters.signing import Ed25519Signer
from tmws_core.domain.license import Tier
from tmws_core.domain.license_key import signed_key, written_key

SIGNER = Ed25519Signer.of(b"the key that tests issue with ..")

PUBLIC_KEY = base64.b64encode(SIGNER.public_key).decode()

KEY_ID = "0198f2a4-7c11-7d3e-9a55-5b0c1de27f6a"


def unsigned(tier: Tier, last_day: date | None = None) -> str:
    """Return a key without a signature; without a last day it never expires."""
    expires = None if last_day is None else datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC)
    return written_key(tier, expires, KEY_ID)


def issued(tier: Tier, last_day: date | None = None) -> str:
    """Return a key as its holder gets it."""
    text = unsigned(tier, last_day)
    return signed_key(text, SIGNER.sign(text.encode()))


def licensed(key: str) -> dict[str, str]:
    """Return the settings of whoever has a key."""
    return {"TMWS_LICENSE_KEY": key, "TMWS_LICENSE_PUBLIC_KEY": PUBLIC_KEY}


UNLIMITED = licensed(issued(Tier.ENTERPRISE))
"""The settings for any number of agents."""

UNLICENSED = {"TMWS_LICENSE_KEY": "", "TMWS_LICENSE_PUBLIC_KEY": ""}
"""The settings of whoever has no key: any number of agents in development."""

FREE_ONLY = {"TMWS_LICENSE_KEY": unsigned(Tier.FREE), "TMWS_LICENSE_PUBLIC_KEY": ""}
"""The settings for one agent."""
