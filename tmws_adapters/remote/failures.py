"""Errors that come over a wire, and those of the wire itself."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import attrs

from tmws_core.errors import Kind, PartUnavailable, TmwsError

PART = "service"
"""The name of the other end in errors."""


class ServiceUnreachable(PartUnavailable):
    """No TMWS answers there; nothing of the request was done, unless it only reads."""


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class OutcomeUnknown(TmwsError):
    """The connection broke before the answer came; the change may be stored or not."""

    code = "outcome_unknown"
    kind = Kind.UNAVAILABLE

    operation: str

    @property
    def problem(self) -> str:
        """Name the operation."""
        return f"The service was gone before it answered {self.operation}: the change may be stored or not"

    @property
    def remedy(self) -> str:
        """Say how to find out."""
        return "Look whether it is, or repeat it with an idempotency_key"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class RemoteFailure(TmwsError):
    """An error as another version of TMWS words it; it has the `code`, the `message` and the `field` of that one."""

    code: str  # type: ignore[misc]  # of each error here, of the class elsewhere
    kind: Kind  # type: ignore[misc]  # as above
    text: str
    argument: str | None = None

    @property
    def message(self) -> str:
        """Say what the other end said."""
        return self.text

    @property
    def problem(self) -> str:
        """Say what the other end said, which names the remedy, too."""
        return self.text

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return self.argument


def error_of(told: Mapping[str, Any], kind: Kind = Kind.INTERNAL) -> TmwsError:
    """Return the error that an error object of the wire stands for.

    The `code` and the `facts`, its arguments, decide the class. An error that this version words differently than the
    `message`, or has other facts, has the classes of its code, but none of its facts. One of an unknown code is a
    RemoteFailure, of the kind that the object names, or else of `kind`.
    """
    code, message, field = str(told.get("code")), str(told.get("message")), told.get("field")
    field = field if isinstance(field, str) else None
    classes = _classes().get(code)
    if classes is None:
        kinds = {each.value: each for each in Kind}
        return RemoteFailure(code=code, kind=kinds.get(str(told.get("kind")), kind), text=message, argument=field)
    for cls in classes:
        with suppress(TypeError):
            error = cls(**told.get("facts", {}))
            if (error.message, error.field) == (message, field):
                return error
    return _reworded(code)(code=code, kind=classes[0].kind, text=message, argument=field)


@cache
def _classes() -> Mapping[str, list[type[TmwsError]]]:
    found = defaultdict(list)
    for cls in _derived(TmwsError):
        if cls.__module__.startswith("tmws_core.errors."):
            found[cls.code].append(cls)
    return found


def _derived(cls: type[TmwsError]) -> Iterator[type[TmwsError]]:
    yield cls
    for below in cls.__subclasses__():
        yield from _derived(below)


@cache
def _reworded(code: str) -> type[RemoteFailure]:
    """Return a class that is caught as that of a code is, and has the text of the other end."""
    classes = _classes()[code]
    return type(classes[0].__name__, (RemoteFailure, *classes), {})
