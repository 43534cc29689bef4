"""Requests of programs hold what their types say, as soon as they are made."""

import uuid
from datetime import UTC, date, datetime
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import pytest

from tmws_core.app import SERVICES
from tmws_core.domain.memory import AccessLevel, MemoryType
from tmws_core.domain.unset import UNSET
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import CreateMemories, CreateMemory, ShareMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.operation import operations_described_by

REQUESTS = [operation.request for operation in operations_described_by(SERVICES).values()]

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Name(str):
    """A string of somebody's own."""

    __slots__ = ()


VALUES: tuple[Any, ...] = (
    *(None, UNSET, attrs.NOTHING, True, 1, 1.5, "abc", "2026-01-31T12:00:00Z", b"abc", NOON, NOON.date()),
    *(uuid.UUID(ID), MemoryType.SEMANTIC, AccessLevel.TEAM, (), [], ("a", "b"), ["a"], ("a", 1), (None,), (("a",),)),
    *({}, {"a": 1}, {"a"}, MappingProxyType({"a": 1}), iter(["a"]), ({"content": "x"},), (CreateMemory(content="x"),)),
    *(CreateMemory(content="x"), object(), str),
)
ALLOWED: dict[object, tuple[type, ...]] = {float: (float, int), dict[str, Any]: (dict,)}


def is_of(value: object, hint: Any) -> bool:
    """Tell whether a field that is declared so may have the value; said in other words than the code says it."""
    if NoneType in get_args(hint):
        return any(is_of(value, each) for each in get_args(hint))
    if get_origin(hint) is tuple:
        return type(value) in (tuple, list) and all(is_of(item, get_args(hint)[0]) for item in value)  # type: ignore[attr-defined]  # of one of these types
    return type(value) in ALLOWED.get(hint, (hint,))


def right_value(hint: Any) -> Any:
    return next(value for value in VALUES if is_of(value, hint) and value not in (None, UNSET, (), {}))


@pytest.mark.parametrize("cls", REQUESTS, ids=[each.__name__ for each in REQUESTS])
def test_a_value_of_another_type_is_refused_by_the_name_of_its_field(cls: Any) -> None:
    hints = get_type_hints(cls)
    required = {each.name: right_value(hints[each.name]) for each in attrs.fields(cls) if each.default is attrs.NOTHING}
    for field in attrs.fields(cls):
        is_made = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]  # the stubs make a function of it
        for value in VALUES:
            if is_of(value, hints[field.name]) or (is_made and value is attrs.NOTHING):
                continue
            with pytest.raises(InvalidField) as caught:
                cls(**{**required, field.name: value})
            assert caught.value.name.partition("[")[0] == field.name, value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CreateMemory(content=None), "content: must be of type str, not NoneType"),  # type: ignore[arg-type]
        (
            lambda: CreateMemory(content="x", memory_type="semantic"),  # type: ignore[arg-type]
            f"memory_type: must be of type MemoryType, not str. Choose one of: {', '.join(map(str, MemoryType))}",
        ),
        (
            lambda: CreateMemory(content="x", access_level=AccessLevel.SHARED, shared_with="ana"),  # type: ignore[arg-type]
            "shared_with: must be of type tuple[str, ...], not str",
        ),
        (lambda: CreateMemory(content="x", tags=("a", 2)), "tags[1]: must be of type str, not int"),  # type: ignore[arg-type]
        (lambda: CreateMemory(content="x", sequence=1.5), "sequence: must be of type int, not float"),  # type: ignore[arg-type]
        (lambda: CreateMemory(content="x", importance=True), "importance: must be of type float, not bool"),
        (
            lambda: CreateMemory(content="x", metadata=[1, 2]),  # type: ignore[arg-type]
            "metadata: must be of type dict[str, typing.Any], not list",
        ),
        (
            lambda: CreateMemories(memories=({"content": "x"},)),  # type: ignore[arg-type]
            "memories[0]: must be of type CreateMemory, not dict",
        ),
        (
            lambda: SearchMemories(query="x", occurred_after=date(2026, 1, 31)),  # type: ignore[arg-type]
            "occurred_after: must be of type datetime, not date",
        ),
    ],
)
def test_the_refusal_tells_both_types(make: Any, message: str) -> None:
    with pytest.raises(InvalidField) as caught:
        make()
    assert caught.value.message == message


def test_what_is_of_the_type_or_can_stand_for_it_is_taken() -> None:
    memory = CreateMemory(content=Name("x"), tags=["a"], importance=1, metadata={"a": (1, 2)}, session_id=None)  # type: ignore[arg-type]  # a list
    assert (memory.content, list(memory.tags), memory.importance) == ("x", ["a"], 1)
    assert UpdateMemory(memory_id=ID, source=None, tags=None).given() == {"source": None}
    assert UpdateMemory(memory_id=ID, source=UNSET, metadata={}).given() == {"metadata": {}}
    assert ShareMemory(memory_id=ID, shared_with=("ana",)).shared_with == ("ana",)


def test_metadata_is_json_at_every_depth() -> None:
    with pytest.raises(InvalidField, match="metadata: holds a mappingproxy"):
        CreateMemory(content="x", metadata={"a": MappingProxyType({"b": 1})})
