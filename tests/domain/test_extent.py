"""How much there is is looked at before what it is: what is too much is refused soon, whatever it holds."""

import time
from typing import Any

import pytest

from tmws_core.domain.nearest import nearest
from tmws_core.errors import InvalidField, UnknownOperation
from tmws_core.messages.agents import RegisterAgent
from tmws_core.messages.memory import CreateMemories, CreateMemory, ListMemories
from tmws_core.messages.search import SearchMemories
from tmws_core.operation import named
from tmws_core.wire import structure

MANY = 200_000

SOON = 0.5
"""Seconds of CPU in which nothing of MANY parts is gone through."""


def _nested(leaf: object, levels: int) -> Any:
    value = leaf
    for _ in range(levels):
        value = {"a": value}
    return value


EXCESSIVE: dict[str, tuple[type, dict[str, Any], str]] = {
    "memories": (CreateMemories, {"memories": [{}] * MANY}, "memories"),
    "memories that are whole": (CreateMemories, {"memories": [{"content": "x"}] * MANY}, "memories"),
    "memories that are none": (CreateMemories, {"memories": [3] * MANY}, "memories"),
    "tags": (CreateMemory, {"content": "x", "tags": ["a"] * MANY}, "tags"),
    "tags of one in a batch": (
        CreateMemories,
        {"memories": [{"content": "x"}, {"content": "x", "tags": [""] * MANY}]},
        "memories[1].tags",
    ),
    "tags to search for": (SearchMemories, {"query": "x", "tags_any": [1] * MANY}, "tags_any"),
    "readers": (CreateMemory, {"content": "x", "shared_with": ["/"] * MANY}, "shared_with"),
    "capabilities": (RegisterAgent, {"agent_id": "a", "capabilities": [None] * MANY}, "capabilities"),
    "unknown names": (CreateMemory, {f"name {number}": 1 for number in range(MANY)}, "name 0"),
    "unknown names in a batch": (
        CreateMemories,
        {"memories": [{"content": "x", **{f"name {number}": 1 for number in range(MANY)}}]},
        "memories[0].name 0",
    ),
    "an unknown name": (CreateMemory, {"content": "x", "contents" * MANY: 1}, ("contents" * 100)[:100]),
    "a text": (CreateMemory, {"content": "\u0301\u0316" * MANY}, "content"),
    "blanks": (CreateMemory, {"content": " " * 8 * MANY}, "content"),
    "a query": (SearchMemories, {"query": "aA" * MANY + "\u00e9"}, "query"),
    "a tag": (CreateMemory, {"content": "x", "tags": ["a" * 8 * MANY]}, "tags[0]"),
    "an agent": (CreateMemory, {"content": "x", "agent_id": "a/" * MANY}, "agent_id"),
    "a namespace": (CreateMemory, {"content": "x", "namespace": "a/" * MANY}, "namespace"),
    "a time": (CreateMemory, {"content": "x", "occurred_at": "2024-01-01T00:00:00." + "0" * MANY}, "occurred_at"),
    "a choice": (CreateMemory, {"content": "x", "memory_type": "episodic" * MANY}, "memory_type"),
    "a cursor": (ListMemories, {"cursor": "A" * 8 * MANY}, "cursor"),
    "a number": (ListMemories, {"limit": 10**MANY}, "limit"),
    "a fraction": (CreateMemory, {"content": "x", "importance": 10**MANY}, "importance"),
    "a number in metadata": (CreateMemory, {"content": "x", "metadata": {"a": -(10**MANY)}}, "metadata"),
    "names in metadata": (CreateMemory, {"content": "x", "metadata": {str(n): 1 for n in range(MANY)}}, "metadata"),
    "a list in metadata": (CreateMemory, {"content": "x", "metadata": {"a": [[]] * MANY}}, "metadata"),
    "a text in metadata": (CreateMemory, {"content": "x", "metadata": {"a": "\x01" * 8 * MANY}}, "metadata"),
    "a tree in metadata": (CreateMemory, {"content": "x", "metadata": _nested([[[]] * 1000] * 1000, 20)}, "metadata"),
    "levels of metadata": (CreateMemory, {"content": "x", "metadata": _nested(1, 900)}, "metadata"),
}


@pytest.mark.parametrize("what", EXCESSIVE)
def test_what_is_too_much_is_refused_by_name_and_soon(what: str) -> None:
    cls, arguments, field = EXCESSIVE[what]
    before = time.thread_time()
    with pytest.raises(InvalidField) as refusal:
        structure(arguments, cls)
    assert time.thread_time() - before < SOON
    assert refusal.value.field == field
    assert len(refusal.value.message) < 1000


def test_an_unknown_operation_is_refused_soon_and_not_told_in_full() -> None:
    before = time.thread_time()
    with pytest.raises(UnknownOperation) as refusal:
        named("create_memory" * MANY, {})
    assert time.thread_time() - before < SOON
    assert len(refusal.value.name) == 100


def test_a_name_resembles_another_of_about_its_length() -> None:
    assert nearest("contnet", ["content", "tags"]) == "content"
    assert nearest("contents", ["content", "tags"]) == "content"
    assert nearest("contentcont", ["content", "tags"]) == "content"
    assert nearest("content" * 2, ["content", "tags"]) is None
    assert nearest("content", []) is None
