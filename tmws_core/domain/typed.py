"""Fields of attrs classes, held to the types that they are declared with: what a type checker would refuse."""

import enum
from collections.abc import Mapping
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from tmws_core.domain.unset import Unset
from tmws_core.errors import InvalidField

_SEQUENCES = (tuple, list)
"""What is taken for a tuple: a list holds the same, in the same order."""

_NUMBERS = (float, int)
"""What is taken for a float."""


def check_types(cls: type, values: Mapping[str, object]) -> None:
    """Raise InvalidField for the first of the values of fields that is of another type than its field.

    attrs.NOTHING is the value of a field that a factory is to make.
    """
    for name, default, usual, hint in _declared(cls):
        value = values[name]
        if value is not default and type(value) is not usual:
            _check(name, value, hint)


@cache
def _declared(cls: type) -> tuple[tuple[str, object, type | None, Any], ...]:
    """Return the fields, each with its default and, where that is enough to know, the very class of its values."""
    hints = get_type_hints(cls)
    return tuple((each.name, _default(each), _usual(hints[each.name]), hints[each.name]) for each in attrs.fields(cls))


def _default(field: "attrs.Attribute[Any]") -> object:
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # the stubs make a function of the class
        return attrs.NOTHING
    return object() if field.default is attrs.NOTHING else field.default


def _usual(hint: Any) -> type | None:
    kind = _kind(hint)
    origin: type = get_origin(kind) or kind
    return None if origin is tuple else origin


def _check(name: str, value: object, hint: Any) -> None:
    kind = _kind(hint)
    if isinstance(value, _absences(hint)):
        return
    if not _is_instance(value, get_origin(kind) or kind):
        reason = f"must be of type {_shown(kind)}, not {_shown(type(value))}"
        raise InvalidField(name=name, reason=reason, hint=_choices(kind))
    if get_origin(kind) is tuple:
        item_type = get_args(kind)[0]
        for index, item in enumerate(value):  # type: ignore[arg-type, var-annotated]  # a tuple or a list
            if type(item) is not item_type:
                _check(f"{name}[{index}]", item, item_type)


def _is_instance(value: object, cls: type) -> bool:
    if isinstance(value, bool):
        return cls is bool
    return isinstance(value, {float: _NUMBERS, tuple: _SEQUENCES}.get(cls, cls))


def _kind(hint: Any) -> Any:
    """Return the type of a field's values, without those that stand for no value."""
    arguments = get_args(hint)
    return next(each for each in arguments if each not in (NoneType, Unset)) if NoneType in arguments else hint


def _absences(hint: Any) -> tuple[type, ...]:
    return tuple(each for each in (NoneType, Unset) if each in get_args(hint))


def _shown(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _choices(kind: Any) -> str:
    is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
    return f"Choose one of: {', '.join(map(str, kind))}" if is_enum else ""
