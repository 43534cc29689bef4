# ruff: noqa: INP001 - part of the script generate.py
"""Writes operations.md: every operation, with its arguments and its answer."""

import enum
import inspect
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from tmws_core.domain.constraints import UUID_PATTERN, UUID_START_PATTERN, Items, JsonObject, Range, Text
from tmws_core.domain.unset import UNSET, Unset
from tmws_core.meanings import meanings, table_of
from tmws_core.operation import Operation
from tmws_core.wire import unstructure

LARGE = 2**31
"""A bound of this size is a limit of storage, not a hint for whoever chooses a value."""

_WORDS = {str: "text", bool: "true or false", int: "integer", float: "number", datetime: "time"}


@attrs.define
class OperationsPage:
    """The page while it is written; it remembers which meanings it used and which objects it has to explain."""

    notice: str
    _used: set[tuple[str, str]] = attrs.field(factory=set, init=False)
    _objects: dict[str, type] = attrs.field(factory=dict, init=False)

    def lines(self, operations: Iterable[Operation]) -> Iterator[str]:
        """Yield the page.

        Raises:
            SystemExit: meanings.toml lacks a field, or has one that is not there.
        """
        yield from ("# Operations", "", self.notice, "")
        yield "Each is an MCP tool, a REST route, a command and a Python request, with the same arguments and answers."
        yield "Times are RFC 3339, in UTC in answers. What is empty is left out of answers. Errors are listed in"
        yield from ("[errors](errors.md); any operation may also end with `timeout` or an error of the storage.", "")
        for operation in operations:
            yield from self._operation(operation)
        yield from ("## Objects", "", "What requests and answers hold.", "")
        shown: set[str] = set()
        while remaining := sorted(self._objects.keys() - shown):
            for name in remaining:
                yield from (f"### {name}", "", _first_paragraph(self._objects[name]), "")
                yield from self._fields(self._objects[name])
            shown.update(remaining)
        unused = {(table, name) for table, names in meanings().items() for name in names} - self._used
        if unused:
            raise SystemExit(f"meanings.toml describes what is not there: {sorted(unused)}")

    def _operation(self, operation: Operation) -> Iterator[str]:
        yield from (f"## {operation.name}", "", operation.description, "")
        yield f"* MCP tool `{operation.name}` of the toolset `{operation.toolset}`"
        yield f"* `POST /mcp/tools/{operation.name}`"
        yield f"* `tmws {operation.group} {operation.command}`"
        yield f"* Python: `{operation.request.__module__}.{operation.request.__name__}`"
        yield f"* Needs the permission `{operation.permission.value}`"
        codes = dict.fromkeys(error.code for error in operation.raises)
        yield f"* Errors of its own: {', '.join(f'`{code}`' for code in codes) or 'none'}"
        yield ""
        yield from self._arguments(operation.request)
        yield from (f"Answer: {_first_paragraph(operation.answer)}", "")
        yield from self._fields(operation.answer)

    def _arguments(self, cls: type) -> Iterator[str]:
        if not attrs.fields(cls):
            yield from ("No arguments.", "")
            return
        hints = get_type_hints(cls)
        yield from ("| argument | type | default | meaning |", "|---|---|---|---|")
        for field in sorted(attrs.fields(cls), key=lambda field: field.default is not attrs.NOTHING):
            kind = self._type(hints[field.name], field.validator)
            yield f"| `{field.name}` | {kind} | {_default(field)} | {self._meaning(cls, field.name)} |"
        yield ""

    def _fields(self, cls: type) -> Iterator[str]:
        hints = get_type_hints(cls)
        yield from ("| field | type | meaning |", "|---|---|---|")
        for field in attrs.fields(cls):
            kind = self._type(hints[field.name], field.validator)
            yield f"| `{field.name}` | {kind} | {self._meaning(cls, field.name)} |"
        yield ""

    def _meaning(self, cls: type, name: str) -> str:
        table = table_of(cls, name)
        if table is None:
            raise SystemExit(f"meanings.toml does not describe {cls.__name__}.{name}")
        self._used.add((table, name))
        return meanings()[table][name]

    def _type(self, hint: Any, constraint: object = None) -> str:
        arguments = [argument for argument in get_args(hint) if argument is not type(None)]
        match get_origin(hint), constraint:
            case (builtin, Items(maximum=most, each=each)) if builtin is tuple:
                return f"list of at most {most}: {self._type(arguments[0], each)}"
            case (builtin, _) if builtin is tuple:
                return f"list: {self._type(arguments[0])}"
            case (builtin, _) if builtin is dict:
                return (
                    f"object of: {self._type(arguments[1])}"
                    if arguments[1] is not Any
                    else f"object{_limit(constraint)}"
                )
            case (None, _):
                return self._class(hint) + _limit(constraint)
            case _ if Unset in arguments:
                return f"{self._type(arguments[0], constraint)}; null clears it"
            case _:
                return self._type(arguments[0], constraint)

    def _class(self, cls: type) -> str:
        if attrs.has(cls):
            self._objects[cls.__name__] = cls
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        if issubclass(cls, enum.Enum):
            return ", ".join(f"`{member.value}`" for member in cls)
        return _WORDS[cls]


def operations_page(notice: str, operations: Iterable[Operation]) -> Iterator[str]:
    """Return the lines of operations.md."""
    return OperationsPage(notice).lines(operations)


def _limit(constraint: object) -> str:
    match constraint:
        case Text(pattern=pattern) if pattern == UUID_PATTERN:
            words = "a UUID"
        case Text(pattern=pattern) if pattern == UUID_START_PATTERN:
            words = "a UUID, or its first 8 digits and more"
        case Text(maximum_bytes=int(most)) | JsonObject(maximum_bytes=most):
            words = f"at most {most} bytes"
        case Text(maximum=int(most)):
            words = f"at most {most} characters"
        case Range(minimum=low, maximum=high) if high is not None and high < LARGE:
            words = f"{low:.10g} to {high:.10g}"
        case Range(minimum=low):
            words = f"at least {low:g}"
        case _:
            return ""
    return f", {words}"


def _default(field: "attrs.Attribute[Any]") -> str:
    if field.default is attrs.NOTHING:
        return "required"
    default = field.metadata.get("unsaid", field.default)
    value = None if default is UNSET or isinstance(default, attrs.Factory) else unstructure(default)  # type: ignore[arg-type]  # the stubs make a function of the class
    return "" if value in (None, []) else f"`{str(value).lower()}`"


def _first_paragraph(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
