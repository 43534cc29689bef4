"""What clients send, read as what it can only mean; the strict converter takes the result.

Programs that call tools put "" or null for what they leave out, numbers and lists into strings, and one thing where a
list is meant; models guess names. What can mean two things stays as it is, and is refused by the strict converter.
"""

import enum
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs

from tmws_core.coercion import (
    LOOKED_AT,
    boolean,
    choice,
    identifier,
    integer,
    is_nothing,
    is_word_for_nothing,
    json_object,
    json_of,
    moment,
    number,
    plain,
    text,
    texts,
)
from tmws_core.domain.constraints import UUID_PATTERN, UUID_START_PATTERN, Items, Text
from tmws_core.domain.nearest import ALIASES, SAYING_NONE, SPANS
from tmws_core.domain.terminal import without_sequences
from tmws_core.errors import InvalidField
from tmws_core.wire import build, clearable_fields, structure

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

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


_NAMES = 64
"""The most names that are looked at; no request has half as many."""


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
        return build(_without_words_for_nothing(arguments, cls), cls)
    except Exception:  # noqa: BLE001 - whatever it was, what remains of it is told below
        try:
            return structure(understood(arguments, cls, now), cls)
        except InvalidField as refusal:
            example = f"For example: {example_of(cls, refusal)}"
            raise attrs.evolve(refusal, also=(*refusal.also, example)) from None


def _without_words_for_nothing(arguments: object, cls: type) -> object:
    """Return arguments as they are but for these words, also where they are a batch of others."""
    if not isinstance(arguments, Mapping):
        return arguments
    said = known_names(arguments, cls) if any(map(is_word_for_nothing, arguments.values())) else dict(arguments)
    for name, item in _batches(cls).items():
        if isinstance(said.get(name), list):
            said[name] = [_without_words_for_nothing(each, item) for each in said[name]]
    return said


@cache
def _batches(cls: type) -> Mapping[str, type]:
    """Return the fields that hold requests of their own, and the class of these."""
    kinds = {name: _kind_of(hint) for name, hint in get_type_hints(cls).items()}
    items = {name: get_args(kind)[0] for name, kind in kinds.items() if get_origin(kind) is tuple}
    return {name: item for name, item in items.items() if attrs.has(item)}


def example_of(cls: type, refusal: InvalidField) -> str:
    """Return arguments that are right, as JSON: those that are required, and those that were not right."""
    hints = get_type_hints(cls)
    wrong = {re.split(r"[.\[: ]", each, maxsplit=1)[0] for each in (refusal.name, *refusal.also)}
    shown = [field for field in attrs.fields(cls) if field.default is attrs.NOTHING or field.name in wrong]
    return json.dumps({field.name: _example(hints[field.name], field.validator) for field in shown})


def understood(arguments: object, cls: type, now: datetime | None = None) -> object:
    """Return JSON arguments as the strict converter wants them, as far as each can mean one thing only."""
    if arguments == [] or is_nothing(arguments):  # PHP and Lua write an empty object as a list
        return {}
    if isinstance(arguments, str):
        arguments = json_of(arguments, dict)
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
            elif _spelt(name) not in ALIASES or not is_nothing(value):
                given[field] = _with_unit(name, value)
    unsaid = _unsaid_by_nothing(cls)
    return {name: value for name, value in given.items() if name not in unsaid or not _says_nothing(name, value)}


def _bounded(read: Reader, most: int) -> Reader:
    """Read lists of at most so many; longer ones are refused by their length."""
    return lambda value, now: value if isinstance(value, list | tuple) and len(value) > most else read(value, now)


def _objects(cls: type) -> Reader:
    holds_text = "content" in attrs.fields_dict(cls)

    def one(value: Any, now: datetime | None) -> Any:
        if not isinstance(value, str):
            return understood(value, cls, now)
        # JSON may be a text to be stored, or what to store.
        return {"content": without_sequences(value)} if holds_text and json_of(value, dict) is value else value

    def read(value: Any, now: datetime | None) -> Any:
        if isinstance(value, str):
            value = json_of(value, dict if value.lstrip().startswith("{") else list)
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
        read = _objects(item) if attrs.has(item) else _timeless(texts)
        return _bounded(read, field.validator.maximum) if isinstance(field.validator, Items) else read
    if get_origin(kind) is dict:
        return _timeless(json_object)
    if _is_identifier(kind, field.validator):
        return _timeless(identifier)
    if kind is datetime:
        return partial(moment, ahead=field.name in _AHEAD)
    if issubclass(kind, enum.Enum):
        return _timeless(choice(field.name, kind))
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


def _says_nothing(name: str, value: Any) -> bool:
    return is_nothing(value) or (name not in SAYING_NONE and is_word_for_nothing(value))


def _without_those_of_tools(others: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rest = [(name, value) for name, value in others.items() if name[:LOOKED_AT].lower() not in IGNORED]
    return rest if len(rest) == len(others) else [each for each in rest if each[0] not in _OF_THEIR_CHAT]


def _field_of(name: str, value: Any, fields: Mapping[str, Any]) -> str | None:
    if len(name) > LOOKED_AT:
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
    found = texts(value)
    return isinstance(found, list) and len(found) == 1


def _spelt(name: str) -> str:
    """Return a name as fields are spelt."""
    return plain(_HUMP.sub("_", name[:LOOKED_AT]))


_PLAIN: Mapping[type, Callable[[Any], Any]] = {str: text, bool: boolean, int: integer, float: number}
