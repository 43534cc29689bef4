"""The one strict converter between JSON values and domain objects.

Nothing is coerced: the string "3" is not 3, "false" is not true, 1 is not true. Every refusal names the field.
"""

import enum
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from tmws_core.domain.constraints import Items, Range
from tmws_core.domain.iso import moment_in
from tmws_core.domain.nearest import EITHER, OF_NO_FIELD, nearest
from tmws_core.domain.unset import Unset
from tmws_core.errors import InvalidField

T = TypeVar("T")

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


_NODE = 16
"""Characters that a value of a list or an object counts at least."""

_SHOWN = 100
"""Characters of an unknown field that an error tells."""

_TOLD = 8
"""How many fields an error tells of; who has to mend more, asks again."""


def structure(value: object, cls: type[T]) -> T:
    """Return the object that a JSON value stands for.

    Raises:
        InvalidField: it stands for none; the error tells of each field that is not right.
    """
    if not isinstance(value, Mapping):
        raise InvalidField(name="arguments", reason=f"must be a JSON object, not {_kind(value)}")
    try:
        return build(value, cls)
    except Exception:  # noqa: BLE001 - whatever it was, looking at each field says it better
        problems = list(islice(_problems(value, cls), _TOLD + 1))
        if not problems:
            raise InvalidField(name="arguments", reason="is not valid") from None
        raise _together(problems) from None


def build(value: Any, cls: type[T]) -> T:
    """Return the object that a JSON value stands for; what is raised where it stands for none, tells nobody why."""
    return _CONVERTER.structure(value, cls)


def outweighs(value: object, limit: int) -> bool:
    """Tell whether a JSON value has more than about `limit` characters; no more of it is looked at than that."""
    seen = 0
    waiting = [value]
    while waiting and seen <= limit:
        item = waiting.pop()
        if isinstance(item, str):
            seen += len(item)
        elif isinstance(item, dict | list):
            seen += _NODE * len(item)
            if seen <= limit and isinstance(item, dict):
                seen += sum(map(len, item))
                waiting.extend(item.values())
            elif seen <= limit:
                waiting.extend(item)
    return seen > limit


def unstructure(value: object) -> Any:
    """Return the JSON value of an object: times as RFC 3339 in UTC, enums by value.

    None is left out of objects, unless it clears a field: of such a field it is UNSET that is left out.
    """
    return _CONVERTER.unstructure(value)


def rfc3339(moment: datetime) -> str:
    """Return an aware time as the wire shows it, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _problems(value: Mapping[Any, Any], cls: type) -> Iterator[InvalidField]:
    """Yield what is wrong with the fields of an object, in the order in which they came; then what is missing."""
    fields = attrs.fields_dict(cls)
    hints = get_type_hints(cls)
    for name, given in value.items():
        if not isinstance(name, str):
            yield InvalidField(name=f"<{type(name).__name__}>", reason="is no string, as the names of fields are")
        elif name not in fields:
            yield _unknown(name, cls)
        else:
            yield from _problems_of_field(given, hints[name], fields[name])
    for name, field in fields.items():
        if name not in value and field.default is attrs.NOTHING:
            yield InvalidField(name=name, reason="is missing", hint=_required(cls))


def _problems_of_field(value: object, hint: Any, field: "attrs.Attribute[Any]") -> Iterator[InvalidField]:
    try:
        if isinstance(value, list | tuple) and isinstance(field.validator, Items):
            field.validator.check_number(field.name, len(value))
        inside = list(islice(_problems_of_items(value, hint), _TOLD + 1))
        if inside:
            yield from (each.inside(field.name) for each in inside)
        else:
            built = _CONVERTER.get_structure_hook(hint)(value, hint)
            if field.validator is not None:
                field.validator(None, field, built)
    except InvalidField as refusal:
        yield _with_hint(refusal if refusal.name else refusal.inside(field.name), field)


def _with_hint(refusal: InvalidField, field: "attrs.Attribute[Any]") -> InvalidField:
    """Return a refusal with the range of its field, or with where else the value can go."""
    accepted = "" if refusal.hint or not isinstance(field.validator, Range) else field.validator.accepted()
    told = [hint for hint in (refusal.hint, accepted, field.metadata.get("otherwise", "")) if hint]
    return attrs.evolve(refusal, hint=". ".join(told))


def _problems_of_items(value: object, hint: Any) -> Iterator[InvalidField]:
    """Yield what is wrong with the items of a list, by their places."""
    kind = next((each for each in (hint, *get_args(hint)) if get_origin(each) is tuple), None)
    if kind is None or not isinstance(value, list | tuple):
        return
    item_type = get_args(kind)[0]
    for place, item in enumerate(value):
        yield from (each.inside(f"[{place}]") for each in _problems_of_item(item, item_type))


def _problems_of_item(item: object, item_type: Any) -> Iterator[InvalidField]:
    if attrs.has(item_type):
        yield from _problems(item, item_type) if isinstance(item, Mapping) else (_wrong("a JSON object", item),)
        return
    try:
        _CONVERTER.get_structure_hook(item_type)(item, item_type)
    except InvalidField as refusal:
        yield refusal


def _unknown(name: str, cls: type) -> InvalidField:
    names = [field.name for field in attrs.fields(cls)]
    spelt = name[:_SHOWN].lower()
    either = [field for field in EITHER.get(spelt, ()) if field in names]
    near = " or ".join(either) or nearest(name, names)
    hint = OF_NO_FIELD.get(spelt) or (f"Did you mean {near}?" if near else f"Known are: {', '.join(names)}")
    return InvalidField(name=name[:_SHOWN], reason="is unknown", hint=hint)


def _together(problems: list[InvalidField]) -> InvalidField:
    """Return the first problem, which tells of the others as well, if there are any."""
    first, *others = problems
    if not others:
        return first
    hints = {first.hint, ""}
    told = []
    for each in others[: _TOLD - 1]:
        told.append(each.problem if each.hint in hints else f"{each.problem}. {each.hint}")
        hints.add(each.hint)
    more = ("and more",) if len(problems) > _TOLD else ()
    return attrs.evolve(first, also=(*told, *more))


def _required(known: type) -> str:
    names = [field.name for field in attrs.fields(known) if field.default is attrs.NOTHING]
    return f"Required: {', '.join(names)}"


def _kind(value: object) -> str:
    names: dict[type, str] = {type(None): "null", bool: "a boolean", str: "a string", list: "a list"}
    return names.get(type(value)) or ("an object" if isinstance(value, Mapping) else "a number")


def _wrong(expected: str, value: object) -> InvalidField:
    return InvalidField(name="", reason=f"must be {expected}, not {_kind(value)}")


def _text(value: object, _: type) -> str:
    if not isinstance(value, str):
        raise _wrong("a string", value)
    return value


def _boolean(value: object, _: type) -> bool:
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def _integer(value: object, _: type) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise (
            _wrong("an integer", value)
            if not isinstance(value, float)
            else InvalidField(name="", reason=f"must be an integer, not {value}")
        )
    return value


def _number(value: object, _: type) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong("a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidField(name="", reason="must be a finite number")
    return number


def _moment(value: object, _: type) -> datetime:
    if not isinstance(value, str):
        raise _wrong("a time", value)
    refusal = InvalidField(
        name="", reason=f"{value[:40]!r} is not a time", hint="Give RFC 3339, such as 2026-01-31T12:00:00Z"
    )
    if not _RFC3339.fullmatch(value):
        raise refusal
    try:
        return moment_in(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal from None


def _choice(value: object, cls: type[enum.Enum]) -> enum.Enum:
    words = [member.value for member in cls]
    if value not in words or isinstance(value, bool):
        shown = repr(value[:40]) if isinstance(value, str) else _kind(value)
        raise InvalidField(name="", reason=f"{shown} is not allowed", hint=f"Choose one of: {', '.join(words)}")
    return cls(value)


def _json_object(value: object, _: type) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("a JSON object", value)
    return value


def _list_hook(converter: Converter) -> Callable[[Any], Callable[[object, type], tuple[Any, ...]]]:
    def make(cls: Any) -> Callable[[object, type], tuple[Any, ...]]:
        item_type = cls.__args__[0]
        structure_item = converter.get_structure_hook(item_type)

        def hook(value: object, _: type) -> tuple[Any, ...]:
            if not isinstance(value, list | tuple):
                raise _wrong("a list", value)
            return tuple(structure_item(item, item_type) for item in value)

        return hook

    return make


def _object_hook(converter: Converter) -> Callable[[Any], Callable[[Any, type], Any]]:
    """Return what makes the objects of a class: how much there is is looked at first, then what it is."""

    def make(cls: Any) -> Callable[[Any, type], Any]:
        whole = converter.gen_structure_attrs_fromdict(cls)
        known = {field.name for field in attrs.fields(cls)}
        lists = [(field.name, field.validator) for field in attrs.fields(cls) if isinstance(field.validator, Items)]

        def hook(value: Any, _: type) -> Any:
            if not isinstance(value, Mapping):
                raise _wrong("a JSON object", value)
            if len(value) > len(known):
                raise _unknown(next(name for name in value if name not in known), cls)
            for name, bound in lists:
                items = value.get(name)
                if isinstance(items, list | tuple):
                    bound.check_number(name, len(items))
            return whole(value, cls)

        return hook

    return make


def _is_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def _is_json_object(cls: Any) -> bool:
    return bool(cls == dict[str, Any])


def _is_tuple(cls: Any) -> bool:
    return get_origin(cls) is tuple


def clearable_fields(cls: type) -> frozenset[str]:
    """Return the fields of an attrs class that null clears, and that stay as they are where they are left out."""
    return frozenset(name for name, hint in get_type_hints(cls).items() if _is_clearable(hint))


def _is_clearable(hint: Any) -> bool:
    return Unset in get_args(hint)


def _clearing_hook(converter: Converter) -> Callable[[Any], Callable[[object, type], object]]:
    def make(hint: Any) -> Callable[[object, type], object]:
        known: Any = Union[tuple(argument for argument in get_args(hint) if argument is not Unset)]  # noqa: UP007 - there is no | for types that are found here
        structure_known = converter.get_structure_hook(known)
        return lambda value, _: structure_known(value, known)

    return make


def _without_none(converter: Converter) -> Callable[[type], Callable[[Any], dict[str, Any]]]:
    def make(cls: type) -> Callable[[Any], dict[str, Any]]:
        cleared = clearable_fields(cls)
        unset: dict[str, Any] = {name: override(omit_if_default=True) for name in cleared}
        whole: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(cls, converter, **unset)
        return lambda value: {key: item for key, item in whole(value).items() if item is not None or key in cleared}

    return make


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=False)
    for cls, hook in (
        (str, _text),
        (bool, _boolean),
        (int, _integer),
        (float, _number),
        (datetime, _moment),
    ):
        converter.register_structure_hook(cls, hook)
    converter.register_structure_hook_func(_is_json_object, _json_object)
    converter.register_structure_hook_func(_is_enum, _choice)
    converter.register_structure_hook_factory(_is_tuple, _list_hook(converter))
    converter.register_structure_hook_factory(_is_clearable, _clearing_hook(converter))
    converter.register_structure_hook_factory(attrs.has, _object_hook(converter))
    converter.register_unstructure_hook(datetime, rfc3339)
    converter.register_unstructure_hook_func(_is_json_object, lambda value: value)  # of JSON values already
    converter.register_unstructure_hook_factory(attrs.has, _without_none(converter))
    return converter


_CONVERTER = _converter()
