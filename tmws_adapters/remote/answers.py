"""Answers: JSON values become the objects that the operation would have returned."""

from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from tmws_adapters.remote.failures import PART
from tmws_core.errors import InvalidField, PartUnavailable
from tmws_core.wire import structure

Answer = TypeVar("Answer")
_Fit = Callable[[Any], Any]


def answer_of(value: dict[str, Any], cls: type[Answer]) -> Answer:
    """Return an answer; what only a newer version says is left out.

    Raises:
        PartUnavailable: it is no such answer.
    """
    try:
        shape: Any = cls  # mypy takes no type variable for a key
        return structure(_fit(shape)(value), cls)
    except InvalidField as error:
        reason = f"its answer is not understood ({error.problem})"
        raise PartUnavailable(part=PART, reason=reason, hint="Install the same version on both sides") from None


@cache
def _fit(cls: Any) -> _Fit:
    """Return what makes a JSON value complete: the wire leaves None out of objects."""
    of = get_args(cls)
    if attrs.has(cls):
        return _fit_object(cls)
    if get_origin(cls) in (Union, UnionType):
        return _fit(next(each for each in of if each is not type(None)))
    if get_origin(cls) is tuple:
        fit = _fit(of[0])
        return lambda value: [fit(item) for item in value] if isinstance(value, list) else value
    if get_origin(cls) is dict and of[1] is not Any:
        fit = _fit(of[1])
        return lambda value: {key: fit(item) for key, item in value.items()} if isinstance(value, dict) else value
    return lambda value: value


def _fit_object(cls: Any) -> _Fit:
    hints = get_type_hints(cls)
    fits = {field.name: _fit(hints[field.name]) for field in attrs.fields(cls)}
    nothing = {field.name: None for field in attrs.fields(cls) if field.default is attrs.NOTHING}

    def fit(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return nothing | {name: fits[name](item) for name, item in value.items() if name in fits}

    return fit
