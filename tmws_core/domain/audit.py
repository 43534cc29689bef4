"""Audit events: what happened, to what, by whom; never the content itself, and never a secret."""

import re
from datetime import datetime
from functools import lru_cache

import attrs

Detail = str | int | float | bool

REDACTED = "[redacted]"

DETAIL_CHARACTERS = 256
"""What is kept of a string; ids and names have at most 128 characters."""

_HIDDEN = frozenset(
    {
        *("authorization", "bearer", "cookie", "credential", "header", "key", "passphrase", "passwd", "password"),
        *("private", "secret", "signature", "token"),
        *("content", "metadata", "query", "queries", "text"),
    }
)
"""Words that make the name of a detail one of a secret, or of what memories say."""

_SHOWN = frozenset({"count", "id", "kind"})
"""Last words of names that are harmless all the same, as in `key_id`."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_CREDENTIAL = re.compile(
    r"tmws_[0-9a-f]{16}_[0-9a-f]"  # an API key
    r"|eyJ[A-Za-z0-9_-]{12}"  # a JWT: base64url of {"
    r"|(?i:TMWS-[A-Z]{2,16}-[0-9A-Z-]{16})"  # a licence key
    r"|(?i:\b(?:bearer|basic)\s+\S{8})"  # a header
    r"|://[^/\s:@]*:[^/\s@]+@"  # a password in a URL
    r"|-----BEGIN "  # a key in PEM
)
"""Each part stops after a bounded way, or where the next attempt begins, so that no text is slow to look through."""


def redacted(details: dict[str, Detail]) -> dict[str, Detail]:
    """Return details without what their names or their looks say is a secret or a content, and with short strings."""
    return {name: REDACTED if _is_hidden(name) else _shown(value) for name, value in details.items()}


def redacted_text(text: str) -> str:
    """Return a text as it may stand in the log: no credential, no lone surrogate, at most DETAIL_CHARACTERS."""
    if _CREDENTIAL.search(text):
        return REDACTED
    short = text[:DETAIL_CHARACTERS]
    return short if short.isascii() else short.encode("utf-8", "replace").decode()


@attrs.frozen(kw_only=True)
class AuditEvent:
    """Something that happened; `details` holds ids, names and numbers only, and what does not belong is redacted."""

    timestamp: datetime
    event_type: str
    agent_id: str = attrs.field(converter=redacted_text)
    details: dict[str, Detail] = attrs.field(converter=redacted)


@attrs.frozen
class AuditRecord:
    """An event as it stands in the log: every text as it is stored, `details` as JSON.

    `hash` chains it to all that stand before it; None only where an older version of the program has written it and no
    newer one has written since.
    """

    id: int
    timestamp: str
    event_type: str
    agent_id: str
    details: str
    hash: bytes | None


@lru_cache(maxsize=256)
def _is_hidden(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _SHOWN:
        return False
    return any(word in _HIDDEN or word.removesuffix("s") in _HIDDEN for word in words)


def _shown(value: Detail) -> Detail:
    return redacted_text(value) if isinstance(value, str) else value
