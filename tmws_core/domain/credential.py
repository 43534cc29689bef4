"""API keys: what an agent proves with over HTTP who it is; the key itself is never stored."""

import binascii
import hashlib
import re
from datetime import datetime

import attrs

from tmws_core.domain.constraints import Text

KEY_NAME = Text(minimum=1, maximum=128)

SECRET_BYTES = 32
"""Of chance in a key: 256 bits, so that an unsalted hash keeps it."""

_KEY = re.compile(r"tmws_(?P<id>[0-9a-f]{16})_(?P<secret>[0-9a-f]{64})_(?P<checksum>[0-9a-f]{8})")


@attrs.frozen(kw_only=True)
class ApiKey:
    """What is stored of a key; `id` is the part of it that may be shown, `digest` the SHA-256 of its secret."""

    id: str
    agent_id: str
    digest: bytes = attrs.field(repr=False)
    name: str | None = attrs.field(default=None, validator=KEY_NAME)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


@attrs.frozen
class ParsedKey:
    """The parts of a key that somebody sent."""

    id: str
    digest: bytes


TOKEN_DOTS = 2
"""What separates the three parts of a token (RFC 7519, section 3)."""


def is_token(text: str) -> bool:
    """Tell whether a text has the form of a token."""
    return text.count(".") == TOKEN_DOTS


def written_key(key_id: str, secret: bytes) -> str:
    """Return a key as its owner keeps it: `tmws_{id}_{secret}_{CRC-32 of both}`, in hexadecimal digits."""
    body = f"tmws_{key_id}_{secret.hex()}"
    return f"{body}_{binascii.crc32(body.encode()):08x}"


def digest_of(secret: bytes) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret).digest()


def parsed_key(text: str) -> ParsedKey | None:
    """Return the parts of a key, or None if it is none: its prefix, length, alphabet or checksum is wrong."""
    found = _KEY.fullmatch(text)
    if found is None:
        return None
    body = text.rpartition("_")[0]
    if f"{binascii.crc32(body.encode()):08x}" != found["checksum"]:
        return None
    return ParsedKey(found["id"], digest_of(bytes.fromhex(found["secret"])))
