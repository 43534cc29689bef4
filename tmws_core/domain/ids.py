"""Identifiers: UUIDv7, so that they sort by time and insert at the end of an index."""

import uuid

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
