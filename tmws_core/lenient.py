"""What clients send, read as what it can only mean; the strict converter takes the result.

Programs that call tools put "" or null for what they leave out, numbers and lists into strings, and one thing where a
list is meant; models guess names. What can mean two things stays as it is, and is refused by the strict converter.
"""

import enum
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs

from tmws_core.domain.ahead import moment_ahead, named_day
from tmws_core.domain.constraints import JSON_DEPTH, UUID_PATTERN, UUID_START_PATTERN, Items, Text
from tmws_core.domain.ids import start_of_id
from tmws_core.domain.nearest import ALIASES, CHOICES, NOTHINGS, SAYING_NONE, SPANS
from tmws_core.domain.terminal import without_sequences
from tmws_core.domain.words import CHARACTERS, words_in
from tmws_core.errors import InvalidField
from tmws_core.wire import build, clearable_fields, rfc3339, structure

T = TypeVar("T")

IGNORED = frozenset(
    {
        *("toolcallid", "tool_call_id", "tool_call", "toolname", "tool_name", "callid", "call_id"),
        *("requestid", "request_id", "chatinput", "chat_input"),
        *("explanation", "random_string", "dummy", "_meta"),
    }
)
"""Names that workflow tools and editors add to every call, in lower case."""

_OF_THEIR_CHAT = frozenset({"sessionId", "action"})
"""What workflow tools say of their own chat, beside other names of theirs; alone the first is a `session_id`."""

_INTEGER = re.compile(r"[+-]?\d{1,18}(\.0{1,9})?")
_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,3})?")
_IDENTIFIER = re.compile(r"(?:urn:uuid:|memory://)?\{?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\}?", re.IGNORECASE)
_EPOCH = re.compile(r"\d{10}|\d{13}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_SECONDS = 10**9
"""Numbers of ten digits are times in seconds since 1970, from 2001 to 2286; of thirteen, in milliseconds.

A smaller one may be a year, a day or a duration.
"""

_NAMES = 64
"""The most names that are looked at; no request has half as many."""

_JSON_CHARACTERS = 256 * 1024
"""The longest string that is looked at as JSON."""

_NAME = 64
"""The longest name that is looked at."""

_WORDS = {"true": True, "false": False, "yes": True, "no": False}

_AHEAD = frozenset({"expires_at"})
"""Fields in which a span such as `30d` lies ahead; in others it could be past, and would be another time again when a
call is repeated, or the next page is asked for."""

Reader = Callable[[Any, datetime | None], Any]
"""Reads a value; what is told by the time from now on is read where that is known."""


def request_of(arguments: object, cls: type[T], now: datetime | None = None) -> T:
    """Return the request that JSON arguments stand for; what is strictly right is not looked at further.

    Without `now`, times that are told by how far they are from it are not known.

    Raises:
        InvalidField: an argument is missing, unknown, of the wrong type or out of its range; the error tells of all,
            with an example of what would be right.
    """
    try:
        if isinstance(arguments, Mapping) and any(map(_is_word_for_nothing, arguments.values())):
            return build(known_names(arguments, cls), cls)
        return build(arguments, cls)
    except Exception:  # noqa: BLE001 - whatever it was, what remains of it is told below
        try:
            return structure(understood(arguments, cls, now), cls)
        except InvalidField as refusal:
            example = f"For example: {example_of(cls, refusal)}"
            raise attrs.evolve(refusal, also=(*refusal.also, example)) from None


def example_of(cls: type, refusal: InvalidField) -> str:
    """Return arguments that are right, as JSON: those that are required, and those that were not right."""
    hints = get_type_hints(cls)
    wrong = {re.split(r"[.\[: ]", each, maxsplit=1)[0] for each in (refusal.name, *refusal.also)}
    shown = [field for field in attrs.fields(cls) if field.default is attrs.NOTHING or field.name in wrong]
    return json.dumps({field.name: _example(hints[field.name], field.validator) for field in shown})


def understood(arguments: object, cls: type, now: datetime | None = None) -> object:
    """Return JSON arguments as the strict converter wants them, as far as each can mean one thing only."""
    if arguments == [] or _is_nothing(arguments):  # PHP and Lua write an empty object as a list
        return {}
    if isinstance(arguments, str):
        arguments = _json_of(arguments, dict)
    if not isinstance(arguments, Mapping) or not all(isinstance(name, str) for name in arguments):
        return arguments
    readers = _readers(cls)
    given = known_names(arguments, cls)
    return {name: readers[name](value, now) if name in readers else value for name, value in given.items()}


def known_names(arguments: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Return arguments under the names of fields, without those that say nothing, or are for other programs."""
    fields = attrs.fields_dict(cls)
    if len(arguments) > _NAMES or all(map(fields.__contains__, arguments)):
        given = dict(arguments)
    else:
        given = {name: value for name, value in arguments.items() if name in fields}
        others = {name: value for name, value in arguments.items() if name not in fields}
        for name, value in _without_those_of_tools(others):
            field = _field_of(name, value, fields)
            if field is None or field in given:
                given[name] = value
            elif _spelt(name) not in ALIASES or not _is_nothing(value):
                given[field] = _with_unit(name, value)
    unsaid = _unsaid_by_nothing(cls)
    return {name: value for name, value in given.items() if name not in unsaid or not _says_nothing(name, value)}


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
        return _WORDS.get(value.strip().lower()[:_NAME], value)
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return without_sequences(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64 else value


def _identifier(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > _NAME:
        return value
    found = _IDENTIFIER.fullmatch(value.strip())
    return found[1].lower() if found else start_of_id(value) or value


def _number(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= _NAME and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return value


def _moment(value: Any, now: datetime | None, *, ahead: bool) -> Any:
    if now is not None and isinstance(value, str) and len(value) <= _NAME:
        said = named_day(value, now) or (moment_ahead(value, now) if ahead else None)
        # The first moment of today is past, and who says that something ends today means the last one.
        if said is not None and (said > now or not ahead):
            return rfc3339(said)
    return _moment_alone(value)


def _moment_alone(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= _NAME:
        text = value.strip()
        if _EPOCH.fullmatch(text):
            return _since_1970(int(text), value)
        try:
            moment = datetime.fromisoformat(text.upper())
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


def _choice(field: str, cls: type[enum.Enum]) -> Callable[[Any], Any]:
    words = {**CHOICES.get(field, {}), **{member.value: member.value for member in cls}}

    def read(value: Any) -> Any:
        return words.get(_plain(value), value) if isinstance(value, str) else value

    return read


def _object(value: Any) -> Any:
    return _with_plain_texts(_json_of(value, dict) if isinstance(value, str) else value, JSON_DEPTH)


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


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        value = without_sequences(value)
        read = _json_of(value, list) if len(value) <= CHARACTERS else value
        words = words_in(value) if read is value else read
        value = value if words is None else words
    elif isinstance(value, int):
        value = [value]
    return [_text(item) for item in value] if isinstance(value, list | tuple) else value


def _bounded(read: Reader, most: int) -> Reader:
    """Read lists of at most so many; longer ones are refused by their length."""
    return lambda value, now: value if isinstance(value, list | tuple) and len(value) > most else read(value, now)


def _objects(cls: type) -> Reader:
    holds_text = "content" in attrs.fields_dict(cls)

    def one(value: Any, now: datetime | None) -> Any:
        if not isinstance(value, str):
            return understood(value, cls, now)
        # JSON may be a text to be stored, or what to store.
        return {"content": without_sequences(value)} if holds_text and _json_of(value, dict) is value else value

    def read(value: Any, now: datetime | None) -> Any:
        if isinstance(value, str):
            value = _json_of(value, dict if value.lstrip().startswith("{") else list)
        if isinstance(value, Mapping | str):
            value = [value]
        return [one(item, now) for item in value] if isinstance(value, list | tuple) else value

    return read


@cache
def _readers(cls: type) -> Mapping[str, Reader]:
    """Return what reads the values of a class's fields, by name."""
    hints = get_type_hints(cls)
    found = {field.name: _reader_of(field, hints[field.name]) for field in attrs.fields(cls)}
    return {name: reader for name, reader in found.items() if reader is not None}


def _reader_of(field: "attrs.Attribute[Any]", hint: Any) -> Reader | None:
    kind = _kind_of(hint)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        read = _objects(item) if attrs.has(item) else _timeless(_texts)
        return _bounded(read, field.validator.maximum) if isinstance(field.validator, Items) else read
    if get_origin(kind) is dict:
        return _timeless(_object)
    if _is_identifier(kind, field.validator):
        return _timeless(_identifier)
    if kind is datetime:
        return partial(_moment, ahead=field.name in _AHEAD)
    if issubclass(kind, enum.Enum):
        return _timeless(_choice(field.name, kind))
    return _timeless(_PLAIN[kind]) if kind in _PLAIN else None


def _timeless(read: Callable[[Any], Any]) -> Reader:
    return lambda value, _: read(value)


def _example(hint: Any, validator: object) -> Any:
    kind = _kind_of(hint)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        required = attrs.has(item) and {
            field.name: "some text" for field in attrs.fields(item) if field.default is attrs.NOTHING
        }
        return [required or "word"]
    if get_origin(kind) is dict:
        return {"key": "value"}
    if _is_identifier(kind, validator):
        return "0198c0de-0000-7000-8000-000000000000"
    if issubclass(kind, enum.Enum):
        return next(iter(kind)).value
    return {bool: True, int: 10, float: 0.5, datetime: "2026-01-31T12:00:00Z"}.get(kind, "word")


def _is_identifier(kind: type, validator: object) -> bool:
    return kind is str and isinstance(validator, Text) and validator.pattern in (UUID_PATTERN, UUID_START_PATTERN)


def _kind_of(hint: Any) -> Any:
    """Return what a value is where it is neither None nor unset."""
    if get_origin(hint) in (tuple, dict, None):
        return hint
    return next(kind for kind in get_args(hint) if kind is not type(None))


@cache
def _unsaid_by_nothing(cls: type) -> frozenset[str]:
    """Return the fields for which null or an empty string stands for being left out; null clears others."""
    optional = {field.name for field in attrs.fields(cls) if field.default is not attrs.NOTHING}
    return frozenset(optional - clearable_fields(cls))


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= _NAME and not value.strip())


def _is_word_for_nothing(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _NAME and value.strip().lower() in NOTHINGS


def _says_nothing(name: str, value: Any) -> bool:
    return _is_nothing(value) or (name not in SAYING_NONE and _is_word_for_nothing(value))


def _without_those_of_tools(others: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rest = [(name, value) for name, value in others.items() if name[:_NAME].lower() not in IGNORED]
    return rest if len(rest) == len(others) else [each for each in rest if each[0] not in _OF_THEIR_CHAT]


def _field_of(name: str, value: Any, fields: Mapping[str, Any]) -> str | None:
    if len(name) > _NAME:
        return None
    plain = _spelt(name)
    meant = ALIASES.get(plain, (plain,))
    if meant == ("tags",) and "memory_id" in fields:
        return "tags" if plain == "tags" else None  # one more, or these instead of all
    if "tags" in meant and "tags_any" in fields:
        # Several could have to be there all, or any of them.
        return "tags_any" if _is_single(value) else None
    return next((field for field in meant if field in fields), None)


def _with_unit(name: str, value: Any) -> Any:
    """Return the span that a number stands for under a name that says its unit."""
    unit = SPANS.get(_spelt(name))
    number = integer(value)
    return f"{number} {unit}" if unit and isinstance(number, int) and not isinstance(number, bool) else value


def _is_single(value: Any) -> bool:
    texts = _texts(value)
    return isinstance(texts, list) and len(texts) == 1


def _spelt(name: str) -> str:
    """Return a name as fields are spelt."""
    return _plain(_HUMP.sub("_", name[:_NAME]))


def _plain(word: str) -> str:
    return word[:_NAME].strip().lower().replace("-", "_").replace(" ", "_")


def _json_of(text: str, kind: type) -> Any:
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


_EPOCH_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)

_PLAIN: Mapping[type, Callable[[Any], Any]] = {str: _text, bool: boolean, int: integer, float: _number}
