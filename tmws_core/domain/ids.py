"""Identifiers: UUIDv7, so that they sort by time and insert at the end of an index."""

import re
import uuid

LEAST_DIGITS = 8
"""The fewest digits that stand for an id: those tell a time of 65 seconds, so that few memories share them."""

DIGITS, LENGTH = 32, 36
"""Digits of a whole id, and its characters with the hyphens."""

_HEXADECIMAL = re.compile("[0-9a-f]+")
_VARIANT = 0x8000000000000000
_VERSION = 0x7000


def uuid7(unix_ms: int, random: int) -> str:
    """Return the UUIDv7 of a time and 74 random bits (RFC 9562, section 5.7).

    Args:
        unix_ms: milliseconds since 1970, 48 bits of which are used.
        random: an integer whose lowest 74 bits are used; pass increasing values to order ids of one millisecond.
    """
    high = (random >> 62) & 0xFFF
    low = random & 0x3FFFFFFFFFFFFFFF
    value = ((unix_ms & 0xFFFFFFFFFFFF) << 80) | ((_VERSION | high) << 64) | _VARIANT | low
    return str(uuid.UUID(int=value))


def start_of_id(text: str) -> str | None:
    """Return how an id is written that begins with these digits, as far as they go, or None if they are none.

    A whole id, or at least LEAST_DIGITS of its first digits, with hyphens or without, in any case.
    """
    digits = text.strip().lower().replace("-", "")
    if not LEAST_DIGITS <= len(digits) <= DIGITS or not _HEXADECIMAL.fullmatch(digits):
        return None
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(filter(None, parts))
