"""Emptying fields of a memory."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.services.conftest import World
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import CreateMemory, GetMemory, MemoryView, UpdateMemory
from tmws_core.messages.search import SearchMemories, SearchMode

pytestmark = pytest.mark.anyio

FIELDS: dict[str, Any] = {
    "session_id": "s1",
    "sequence": 1,
    "occurred_at": datetime(2023, 5, 8, tzinfo=UTC),
    "expires_at": datetime(2999, 5, 8, tzinfo=UTC),
    "source": "chat",
}


async def _stored(world: World) -> str:
    request = CreateMemory(content="The rose blooms.", tags=("garden",), **FIELDS)
    memory_id = (await world.app.call(world.agent("athena"), request)).memory_id
    other = await world.app.call(world.agent("athena"), CreateMemory(content="The lily blooms."))
    update = UpdateMemory(memory_id=memory_id, superseded_by=other.memory_id)
    await world.app.call(world.agent("athena"), update)
    return memory_id


async def _read(world: World, memory_id: str) -> MemoryView:
    return (await world.app.call(world.agent("athena"), GetMemory(memory_id=memory_id))).memory


@pytest.mark.parametrize("name", [*FIELDS, "superseded_by"])
async def test_null_empties_one_field_and_leaves_the_others_as_they_are(world: World, name: str) -> None:
    memory_id = await _stored(world)
    before = await _read(world, memory_id)
    assert getattr(before, name) is not None
    await world.app.call_wire(world.agent("athena"), "update_memory", {"memory_id": memory_id, name: None})
    after = await _read(world, memory_id)
    changed = {field for field in [*FIELDS, "superseded_by", "tags"] if getattr(after, field) != getattr(before, field)}
    assert changed == {name}
    assert getattr(after, name) is None


async def test_python_empties_with_none_and_leaves_what_is_not_given(world: World) -> None:
    athena = world.agent("athena")
    memory_id = await _stored(world)
    await world.app.call(athena, UpdateMemory(memory_id=memory_id, expires_at=None, content="The rose is red."))
    after = await _read(world, memory_id)
    assert (after.content, after.expires_at, after.occurred_at) == ("The rose is red.", None, FIELDS["occurred_at"])


async def test_null_for_what_every_memory_has_changes_nothing(world: World) -> None:
    athena = world.agent("athena")
    memory_id = await _stored(world)
    needed = ("content", "memory_type", "importance", "access_level", "tags", "metadata")
    with pytest.raises(InvalidField, match="change nothing"):
        await world.app.call_wire(athena, "update_memory", {"memory_id": memory_id, **dict.fromkeys(needed)})
    arguments = {"memory_id": memory_id, **dict.fromkeys(needed), "source": None}
    await world.app.call_wire(athena, "update_memory", arguments)
    after = await _read(world, memory_id)
    assert (after.content, after.tags, after.source) == ("The rose blooms.", ("garden",), None)


async def test_null_when_storing_and_when_searching_is_as_if_left_out(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call_wire(
        athena, "create_memory", {"content": "x", **dict.fromkeys([*FIELDS, "idempotency_key", "namespace"])}
    )
    assert (await _read(world, created["memory_id"])).session_id is None
    found = await world.app.call_wire(
        athena, "search_memories", {"query": "x", **dict.fromkeys(["session_id", "occurred_after", "as_of", "cursor"])}
    )
    assert [hit["memory_id"] for hit in found["results"]] == [created["memory_id"]]


async def test_a_turn_that_leaves_its_session_lends_and_borrows_no_more_words(world: World) -> None:
    athena = world.agent("athena")
    ids = []
    for sequence, content in enumerate(("Which colour?", "Blue.", "Fine.")):
        request = CreateMemory(content=content, session_id="s1", sequence=sequence)
        ids.append((await world.app.call(athena, request)).memory_id)
    which, blue, fine = ids

    async def by_words(query: str) -> list[str]:
        request = SearchMemories(query=query, mode=SearchMode.LEXICAL)
        return [hit.memory_id for hit in (await world.app.call(athena, request)).results]

    assert await by_words("colour") == [which, blue, fine]
    await world.app.call(athena, UpdateMemory(memory_id=which, session_id=None))
    assert await by_words("colour") == [which]
    await world.app.call(athena, UpdateMemory(memory_id=which, session_id="s1"))
    assert await by_words("colour") == [which, blue, fine]
    await world.app.call(athena, UpdateMemory(memory_id=which, sequence=5))
    assert await by_words("colour") == [which]
    await world.app.call(athena, UpdateMemory(memory_id=blue, sequence=6))
    assert sorted(await by_words("colour")) == sorted([which, blue])
