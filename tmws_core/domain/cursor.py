"""Cursors: where a page ended, sealed together with the request that it belongs to."""

import base64
import binascii
import hashlib
import json

from tmws_core.errors import InvalidField

_SEAL_BYTES = 9


def encode(request: str, position: str) -> str:
    """Return the cursor of a position in the answer to a request; `request` is any text that identifies it."""
    return base64.urlsafe_b64encode(_seal(request, position) + position.encode()).decode().rstrip("=")


def decode(request: str, cursor: str) -> str:
    """Return the position in a cursor; InvalidField unless `encode` made it for this very request.

    The seal finds mistakes and mix-ups. It is no secret and protects nothing: every page is checked for access anew.
    """
    refusal = InvalidField(
        name="cursor",
        reason="does not belong to this request",
        hint="Send the next_cursor of the former page together with the same arguments, or no cursor",
    )
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = raw[_SEAL_BYTES:].decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise refusal from None
    if raw[:_SEAL_BYTES] != _seal(request, position):
        raise refusal
    return position


def _seal(request: str, position: str) -> bytes:
    return hashlib.sha256(json.dumps([request, position]).encode()).digest()[:_SEAL_BYTES]
