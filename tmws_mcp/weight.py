"""How many values JSON holds, told before it is parsed: a parser makes objects of all of them, and cannot be halted."""

from tmws_core.doubles import without_texts
from tmws_core.errors import TooManyValues

VALUES = 400_000
"""Values of one body: 1,000 memories with all that each may have, readers and tags included, are 375,000. Parsing as
many takes up to 30 ms (measured), 8 MiB of empty lists 560 ms."""

_NESTING = 4
"""What a list or an object counts, in values: making one takes as long as making four strings. Each name in an object
counts one."""


def check_weight(body: bytes) -> None:
    """Raise TooManyValues if JSON holds more than VALUES."""
    if _values(body) > VALUES and values_of(body) > VALUES:
        raise TooManyValues(limit=VALUES)


def values_of(body: bytes) -> int:
    """Return how many values a body has, or a number above VALUES as soon as they are too many."""
    values = 0
    for part in without_texts(body):
        values += _values(part)
        if values > VALUES:
            break
    return values


def _values(part: bytes) -> int:
    """Return how many values begin in a part of a body, if it has no texts."""
    return part.count(b",") + part.count(b":") + _NESTING * (part.count(b"[") + part.count(b"{"))
