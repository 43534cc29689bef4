"""What orjson makes something else of, and says nothing: keys that JSON holds twice, and integers of over 64 bits."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tmws_core import quoted
from tmws_core.errors import InvalidField

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)

_WHOLE = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""As much of a part as has whole texts."""

_SHOWN = 100
"""Characters of a key that an error tells."""

_LARGE = 2.0**63
"""The least that an integer is of which orjson makes a float."""

_DIGITS = 100
"""Digits of an integer that are read: many more than 64 bits have, and few enough to take no time."""


def faithful(raw: bytes, value: Any) -> Any:
    """Return what valid JSON says, which orjson has parsed to `value`, with its integers of more than 64 bits as such.

    orjson makes floats of these, which have 16 of their digits. Only where there is a float as large is the JSON parsed
    again. An integer of more than _DIGITS digits becomes one of so many.

    Raises:
        InvalidField: an object has a key twice. Counting is enough to tell that none has: a small body takes 0.06 ms,
            6 MB of memories 130 ms if every eighth character is an escaped quotation mark (measured). Only to name one,
            the JSON is parsed again.
    """
    keys, has_large_float = _looked_through(value)
    if raw.count(b":") != keys and sum(part.count(b":") for part in without_texts(raw)) != keys:
        raise InvalidField(name=_doubled(raw)[:_SHOWN], reason="is there twice", hint="Give each key once")
    if has_large_float:
        with suppress(RecursionError):  # no field takes what is nested as deeply
            return json.loads(raw, parse_int=lambda digits: int(digits[:_DIGITS]))
    return value


def without_texts(raw: bytes) -> Iterator[bytes]:
    """Yield JSON in parts, without the texts in it."""
    place = 0
    while place < len(raw):
        whole = _WHOLE.match(raw, place, place + quoted.STEP)
        end = place if whole is None else whole.end()
        yield _TEXT.sub(b"", raw[place:end])
        place = end if end in (len(raw), place + quoted.STEP) else quoted.behind_text(raw, end + 1)


def _looked_through(value: object) -> tuple[int, bool]:
    """Count the keys of all objects in a value, and tell whether a float in it may have been an integer."""
    keys, has_large_float = 0, False
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            keys += len(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, float) and abs(item) >= _LARGE:
            has_large_float = True
    return keys, has_large_float


def _doubled(raw: bytes) -> str:
    """Return the first key that was found twice; where it lies too deep to be found, what holds it."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    with suppress(RecursionError):
        json.loads(raw, object_pairs_hook=note)
    return found[0] if found else "arguments"
