"""One JSON value, read as the one thing that it can mean where a field has a type."""

import enum
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tmws_core.domain.ahead import moment_ahead, named_day
from tmws_core.domain.constraints import JSON_DEPTH
from tmws_core.domain.ids import start_of_id
from tmws_core.domain.iso import moment_in
from tmws_core.domain.nearest import CHOICES
from tmws_core.domain.nothing import says_nothing
from tmws_core.domain.terminal import without_sequences
from tmws_core.domain.words import CHARACTERS, words_in
from tmws_core.wire import rfc3339

_INTEGER = re.compile(r"[+-]?\d{1,18}(\.0{1,9})?")

_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,3})?")

_IDENTIFIER = re.compile(r"(?:urn:uuid:|memory://)?\{?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\}?", re.IGNORECASE)

_EPOCH = re.compile(r"\d{10}|\d{13}")

_SECONDS = 10**9
"""Numbers of ten digits are times in seconds since 1970, from 2001 to 2286; of thirteen, in milliseconds.

A smaller one may be a year, a day or a duration.
"""

_JSON_CHARACTERS = 256 * 1024
"""The longest string that is looked at as JSON."""

LOOKED_AT = 64
"""Characters of the longest name, number or time that is looked at."""

_WORDS = {"true": True, "false": False, "yes": True, "no": False}

_EPOCH_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)


def integer(value: Any) -> Any:
    """Return the integer that a value can only mean, or the value."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return value


def boolean(value: Any) -> Any:
    """Return the boolean that a value can only mean, or the value."""
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower()[:LOOKED_AT], value)
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


def text(value: Any) -> Any:
    """Return the text that a value can only mean, without what programs write for terminals, or the value."""
    if isinstance(value, str):
        return without_sequences(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64 else value


def identifier(value: Any) -> Any:
    """Return the id, or the beginning of one, that a value can only mean, or the value."""
    if not isinstance(value, str) or len(value) > LOOKED_AT:
        return value
    found = _IDENTIFIER.fullmatch(value.strip())
    return found[1].lower() if found else start_of_id(value) or value


def number(value: Any) -> Any:
    """Return the number that a value can only mean, or the value."""
    if isinstance(value, str) and len(value) <= LOOKED_AT and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return value


def moment(value: Any, now: datetime | None, *, ahead: bool) -> Any:
    """Return the time in RFC 3339 that a value can only mean, or the value.

    `ahead` tells that a span such as `30d` lies ahead of `now`; without `now`, spans and names of days are not known.
    """
    if now is not None and isinstance(value, str) and len(value) <= LOOKED_AT:
        said = named_day(value, now) or (moment_ahead(value, now) if ahead else None)
        # The first moment of today is past, and who says that something ends today means the last one.
        if said is not None and (said > now or not ahead):
            return rfc3339(said)
    return _moment_alone(value)


def _moment_alone(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= LOOKED_AT:
        text = value.strip()
        if _EPOCH.fullmatch(text):
            return _since_1970(int(text), value)
        try:
            moment = moment_in(text.upper())
        except ValueError:
            return value
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _since_1970(value, value)
    return value


def _since_1970(number: float, value: Any) -> Any:
    if _SECONDS <= number < 10 * _SECONDS:
        seconds = number
    elif _SECONDS <= number / 1000 < 10 * _SECONDS:
        seconds = number / 1000
    else:
        return value
    return rfc3339(_EPOCH_BEGAN + timedelta(seconds=seconds))


def choice(field: str, cls: type[enum.Enum]) -> Callable[[Any], Any]:
    """Return what reads a value of a field as the member of a class that it can only mean."""
    words = {**CHOICES.get(field, {}), **{member.value: member.value for member in cls}}

    def read(value: Any) -> Any:
        return words.get(plain(value), value) if isinstance(value, str) else value

    return read


def json_object(value: Any) -> Any:
    """Return the object that a value can only mean, its texts as `text` reads them, or the value."""
    return _with_plain_texts(json_of(value, dict) if isinstance(value, str) else value, JSON_DEPTH)


def _with_plain_texts(value: Any, depth: int) -> Any:
    """Return a value whose texts, but not its names, are without what programs write for terminals."""
    match value:
        case str():
            return without_sequences(value)
        case dict() if depth:
            return {name: _with_plain_texts(item, depth - 1) for name, item in value.items()}
        case list() if depth:
            return [_with_plain_texts(item, depth - 1) for item in value]
    return value


def texts(value: Any) -> Any:
    """Return the list of texts that a value can only mean, or the value."""
    if isinstance(value, str):
        value = without_sequences(value)
        read = json_of(value, list) if len(value) <= CHARACTERS else value
        words = words_in(value) if read is value else read
        value = value if words is None else words
    elif isinstance(value, int):
        value = [value]
    return [text(item) for item in value] if isinstance(value, list | tuple) else value


def is_nothing(value: Any) -> bool:
    """Tell whether a value stands for being left out: null, or a blank text."""
    return value is None or (isinstance(value, str) and len(value) <= LOOKED_AT and not value.strip())


def is_word_for_nothing(value: Any) -> bool:
    """Tell whether a value is a text that says that there is none."""
    return isinstance(value, str) and len(value) <= LOOKED_AT and says_nothing(value) and not is_nothing(value)


def plain(word: str) -> str:
    """Return a word in lower case, its parts joined by underscores."""
    return word[:LOOKED_AT].strip().lower().replace("-", "_").replace(" ", "_")


def json_of(text: str, kind: type) -> Any:
    """Return the list or object that a string holds as JSON, or the string."""
    if len(text) > _JSON_CHARACTERS or not text.lstrip().startswith("[" if kind is list else "{"):
        return text
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, kind) else text


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError
    return value
