"""Times as files write them: RFC 3339, without a zone, a day alone, or a number since 1970."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from tmws_core.domain.iso import moment_in
from tmws_core.wire import rfc3339

_CHARACTERS = 64
"""The longest text that is read as a time."""

_NUMBER = re.compile(r"\d{9,19}(\.\d{1,9})?")
_SLASHED = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?=$|[T ])")
_ONE_DIGIT = re.compile(r"(?<![\d.])(?<!W\d\d-)\d(?!\d)")
"""Of a month, a day, an hour or an offset: no digit of a second, and no day of a week."""

_APART = re.compile(r"(?<=\d)\s*(?:UTC|GMT|Z)$", re.IGNORECASE)
_BEFORE_OFFSET = re.compile(r"(?<=\d)\s+(?=[+-]\d{2}(?::?\d{2})?$)")

_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)

_UNITS = ((10**8, 1), (10**11, 10**3), (10**14, 10**6), (10**17, 10**9))
"""From which number on times count so many parts of a second: each time since 1973 is written in one way only."""


def moment_of(value: Any) -> str | None:
    """Return the time that a JSON value means, in RFC 3339 and UTC where it names no zone, or None."""
    if isinstance(value, int | float):
        return _since_1970(value)
    if not isinstance(value, str) or len(value) > _CHARACTERS:
        return None
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return _since_1970(float(text) if "." in text else int(text))
    for read in _READERS:
        with suppress(ValueError, OverflowError):
            found = read(text)
            return rfc3339(found if found.tzinfo else found.replace(tzinfo=UTC))
    return None


def _since_1970(number: float) -> str | None:
    parts = next((parts for least, parts in reversed(_UNITS) if least <= number < least * 1000), None)
    if parts is None:
        return None
    microseconds = number * 10**6 // parts if isinstance(number, int) else round(number * 10**6 / parts)
    return rfc3339(_BEGAN + timedelta(microseconds=int(microseconds)))


def _iso(text: str) -> datetime:
    plain = _SLASHED.sub(r"\1-\2-\3", _APART.sub("+00:00", " ".join(text.split())))
    return moment_in(_BEFORE_OFFSET.sub("", _ONE_DIGIT.sub(r"0\g<0>", plain)))


_READERS: tuple[Callable[[str], datetime], ...] = (_iso, parsedate_to_datetime)
