"""The one description of what can be called; the four faces (Python, MCP, REST, CLI) all derive from it."""

import enum
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, get_type_hints

import attrs

from tmws_core.domain.agent import Permission
from tmws_core.domain.nearest import nearest
from tmws_core.domain.typed import check_types
from tmws_core.errors import TmwsError, UnknownOperation

Result = TypeVar("Result", covariant=True)  # noqa: PLC0105 - the plain word reads better in signatures
Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])


SHOWN = 100
"""Characters of an unknown name that an error tells, to people and to programs."""


class Request(Generic[Result]):
    """The base of all requests; its argument is the type of the answer, so that `App.call` is fully typed."""

    __slots__ = ()

    def __attrs_pre_init__(self, **fields: object) -> None:
        """Refuse values of other types than those of their fields, before the validators look at them."""
        check_types(type(self), fields)


class Effect(enum.Enum):
    """What an operation does to the store; MCP's annotations follow from it."""

    READ = "read"
    WRITE = "write"
    UPDATE = "update"
    DELETE = "delete"


@attrs.frozen(kw_only=True)
class _Description:
    name: str
    toolset: str
    group: str
    command: str
    permission: Permission
    effect: Effect
    raises: tuple[type[TmwsError], ...]
    quotes: bool


@attrs.frozen(kw_only=True)
class Operation(_Description):
    """Something that can be called: its name, its types, what it needs, what it does, and how it fails.

    `command` is the word for it on the command line, below the name of its group. An operation that `quotes` answers
    with texts that somebody stored: whoever reads them must not take them for instructions.
    """

    summary: str
    description: str
    request: type[Request[Any]]
    answer: type[Any]
    run: Callable[..., Awaitable[Any]]


def operation(
    name: str,
    *,
    toolset: str,
    permission: Permission,
    effect: Effect,
    raises: tuple[type[TmwsError], ...] = (),
    command: str | None = None,
    quotes: bool = False,
) -> Callable[[Method], Method]:
    """Describe a service method `async def method(self, caller, request) -> answer` as an operation.

    Its docstring becomes the description. Without `command`, the word for the command line is the name without its
    noun: `get_memory_stats` is `tmws memory get-stats`, `list_memories` is `tmws memory list`.
    """
    group = toolset.removesuffix("s") if toolset != "system" else toolset
    nouns = (group, f"{group}s", f"{group[:-1]}ies")
    description = _Description(
        name=name,
        toolset=toolset,
        group=group,
        command=command or "-".join(word for word in name.split("_") if word not in nouns),
        permission=permission,
        effect=effect,
        raises=raises,
        quotes=quotes,
    )

    def describe(method: Method) -> Method:
        method.__operation__ = description  # type: ignore[attr-defined]  # functions take attributes
        return method

    return describe


def operations_of(services: Iterable[object]) -> dict[str, Operation]:
    """Return the operations that the services' methods describe, by name."""
    return _described(services, inspect.ismethod)


def operations_described_by(classes: Iterable[type]) -> dict[str, Operation]:
    """Return the operations of service classes, by name; their `run` still asks for the service before the caller."""
    return _described(classes, inspect.isfunction)


def named(name: str, operations: Mapping[str, Operation]) -> Operation:
    """Return the operation of this name; UnknownOperation, with the nearest one there is, if there is none."""
    if name not in operations:
        raise UnknownOperation(name=name[:SHOWN], nearest=nearest(name, operations))
    return operations[name]


def _described(owners: Iterable[object], is_method: Callable[[object], bool]) -> dict[str, Operation]:
    found = {}
    for owner in owners:
        for _, method in inspect.getmembers(owner, is_method):
            description: _Description | None = getattr(method, "__operation__", None)
            if description is not None:
                found[description.name] = _bind(description, method)
    return found


def _bind(description: _Description, method: Callable[..., Awaitable[Any]]) -> Operation:
    hints = get_type_hints(method)
    text = inspect.getdoc(method) or ""
    return Operation(
        **attrs.asdict(description, recurse=False),
        summary=text.split("\n", 1)[0],
        description=" ".join(text.split()),
        request=hints["request"],
        answer=hints["return"],
        run=method,
    )
