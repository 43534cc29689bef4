"""Errors that come over a wire, and those of the wire itself."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import attrs

from tmws_core.errors import (
    ConfigurationError,
    Forbidden,
    InvalidField,
    Kind,
    MalformedRequest,
    MemoryNotFound,
    PartUnavailable,
    RequestTimedOut,
    RequestTooLarge,
    TmwsError,
    UnknownOperation,
    VersionConflict,
)

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


_SHAPES: Mapping[type[TmwsError], str] = {
    InvalidField: r"(?P<name>FIELD): (?P<reason>.*?)(\. (?P<hint>.*))?",
    MalformedRequest: r"(?P<reason>.*)\. Send .*",
    RequestTooLarge: r"The request body is larger than (?P<limit>\d+) bytes\..*",
    UnknownOperation: r"There is no operation named '(?P<name>.*)'\. (Did you mean (?P<nearest>.*)\?|List .*)",
    MemoryNotFound: r"There is no memory (?P<memory_id>.*?)\. .*",
    VersionConflict: r"Memory (?P<memory_id>.*) is at version (?P<actual>\d+), not (?P<expected>\d+)\. .*",
    Forbidden: r"You may not (?P<action>.*)\. It needs (?P<needs>.*)",
    RequestTimedOut: r"The request did not finish within (?P<seconds>\S+) seconds\. .*",
    ConfigurationError: r"(?P<setting>FIELD): (?P<reason>.*?)(\. (?P<hint>.*))?",
    PartUnavailable: r"(?P<part>.*?): (?P<reason>.*?)(\. (?P<hint>.*))?",
    TmwsError: ".*",
}
"""How a class of errors, and those below it, word their facts; FIELD stands for the wire's `field`."""


def error_of(told: Mapping[str, Any], kind: Kind = Kind.INTERNAL) -> TmwsError:
    """Return the error that an error object of the wire stands for, which has a `code`, a `message` and a `field`.

    The code decides the class, and the message tells the facts; where a reason holds a full stop, what follows counts
    as its remedy. An error whose message this version words differently has its class, but none of its facts. One of
    an unknown code is a RemoteFailure, of the kind that the object names, or else of `kind`.
    """
    code, message, field = str(told.get("code")), str(told.get("message")), told.get("field")
    field = field if isinstance(field, str) else None
    cls = _classes().get(code)
    if cls is None:
        kinds = {each.value: each for each in Kind}
        return RemoteFailure(code=code, kind=kinds.get(str(told.get("kind")), kind), text=message, argument=field)
    facts = _facts(cls, message, field)
    error = None if facts is None else cls(**facts)
    if error is not None and (error.message, error.field) == (message, field):
        return error
    return _reworded(code)(code=code, kind=cls.kind, text=message, argument=field)


@cache
def _classes() -> Mapping[str, type[TmwsError]]:
    return {cls.code: cls for cls in _derived(TmwsError) if cls.__module__ == TmwsError.__module__}


def _derived(cls: type[TmwsError]) -> Iterator[type[TmwsError]]:
    yield cls
    for below in cls.__subclasses__():
        yield from _derived(below)


@cache
def _reworded(code: str) -> type[RemoteFailure]:
    """Return a class that is caught as that of a code is, and has the text of the other end."""
    cls = _classes()[code]
    return type(cls.__name__, (RemoteFailure, cls), {})


def _facts(cls: type[TmwsError], message: str, field: str | None) -> dict[str, Any] | None:
    """Return the arguments of an error by its message, or None if it is worded differently."""
    shape = next(_SHAPES[base] for base in cls.__mro__ if base in _SHAPES)
    match = re.fullmatch(shape.replace("FIELD", re.escape(field or "")), message, re.DOTALL)
    if match is None:
        return None
    facts: dict[str, Any] = {name: text for name, text in match.groupdict().items() if text is not None}
    for each in attrs.fields(cls):
        if each.type in (int, float):
            facts[each.name] = each.type(facts[each.name])
        elif each.name == "name" and field is not None:
            facts["name"] = field
    return facts
