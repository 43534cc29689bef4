"""How many values JSON holds, told before it is parsed: a parser makes objects of all of them, and cannot be halted."""

import re

from tmws_core.errors import TooManyValues

VALUES = 400_000
"""Values of one body: 1,000 memories with all that each may have, readers and tags included, are 320,000. Parsing as
many takes up to 30 ms (measured), 8 MiB of empty lists 560 ms."""

_NESTING = 4
"""What a list or an object counts, in values: making one takes as long as making four strings."""

_STEP = 64 * 1024
"""Bytes that are looked through at a time: 1 ms in which no other thread runs."""

_IN_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)

_WHOLE = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""As much of a part as has whole texts."""


def check_weight(body: bytes) -> None:
    """Raise TooManyValues if JSON holds more than VALUES."""
    if _values(body) > VALUES and values_of(body) > VALUES:
        raise TooManyValues(limit=VALUES)


def values_of(body: bytes) -> int:
    """Return how many values a body has, or a number above VALUES as soon as they are too many."""
    values = place = 0
    while place < len(body) and values <= VALUES:
        whole = _WHOLE.match(body, place, place + _STEP)
        end = place if whole is None else whole.end()
        values += _values(_TEXT.sub(b"", body[place:end]))
        place = end if end in (len(body), place + _STEP) else _behind_text(body, end + 1)
    return values


def _values(part: bytes) -> int:
    """Return how many values begin in a part of a body, if it has no texts."""
    return part.count(b",") + _NESTING * (part.count(b"[") + part.count(b"{"))


def _behind_text(body: bytes, place: int) -> int:
    """Return where a text ends that has begun before `place`."""
    while place < len(body):
        found = _IN_TEXT.match(body, place, place + _STEP)
        end = place if found is None else found.end()
        if body[end : end + 1] == b'"':
            return end + 1
        if end == place:  # a backslash at the very end
            break
        place = end
    return len(body)
