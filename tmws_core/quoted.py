"""Texts in JSON that nobody has parsed: where they end. An agent terminal starts with it, so nothing is imported."""

import re

STEP = 64 * 1024
"""Bytes that are looked through at a time: 1 ms in which no other thread runs."""

_IN_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


def behind_text(raw: bytes, place: int) -> int:
    """Return where a text ends that has begun before `place`; one that does not end reaches to the end of all."""
    while place < len(raw):
        found = _IN_TEXT.match(raw, place, place + STEP)
        end = place if found is None else found.end()
        if raw[end : end + 1] == b'"':
            return end + 1
        if end == place:  # a backslash at the very end
            break
        place = end
    return len(raw)
