"""Cursors: where a page ended, sealed together with the request and the caller that it belongs to."""

import base64
import binascii
import hmac
import json
from collections.abc import Sequence

from tmws_core.errors import InvalidField

_SEAL_BYTES = 16
"""Half of an HMAC-SHA256, the least that RFC 2104 advises."""


def encode(key: bytes, request: str, position: str) -> str:
    """Return the cursor of a position in the answer to a request; `request` is any text that identifies it."""
    return base64.urlsafe_b64encode(_seal(key, request, position) + position.encode()).decode().rstrip("=")


def decode(keys: Sequence[bytes], request: str, cursor: str) -> str:
    """Return the position in a cursor; InvalidField unless `encode` made it with one of the keys for this request."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = raw[_SEAL_BYTES:].decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise _refusal() from None
    if not any(hmac.compare_digest(raw[:_SEAL_BYTES], _seal(key, request, position)) for key in keys):
        raise _refusal()
    return position


def number(position: str) -> int:
    """Return the number that a position is; InvalidField if it is none."""
    if not (position.isascii() and position.isdigit()):
        raise _refusal()
    return int(position)


def _refusal() -> InvalidField:
    return InvalidField(
        name="cursor",
        reason="does not belong to this request",
        hint="Send the next_cursor of the former page together with the same arguments, or no cursor",
    )


def _seal(key: bytes, request: str, position: str) -> bytes:
    return hmac.digest(key, json.dumps([request, position]).encode(), "sha256")[:_SEAL_BYTES]
