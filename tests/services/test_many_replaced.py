"""How many memories may have replaced one another, or be replaced by one, and whom that keeps from anything."""

from typing import Any

import pytest

from tests.services.conftest import World
from tmws_core.domain.memory import REPLACED, SUCCESSORS, AccessLevel
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    GetMemory,
    MemoryView,
    UpdateMemory,
)

pytestmark = pytest.mark.anyio


async def _create(world: World, content: str, agent: str = "athena", **fields: Any) -> str:
    return (await world.app.call(world.agent(agent), CreateMemory(content=content, **fields))).memory_id


async def _replace(world: World, former: str, later: str | None, agent: str = "athena") -> None:
    await world.app.call(world.agent(agent), UpdateMemory(memory_id=former, superseded_by=later))


async def _read(world: World, memory_id: str) -> MemoryView:
    return (await world.app.call(world.operator, GetMemory(memory_id=memory_id))).memory


async def test_what_has_been_replaced_a_thousand_times_is_no_successor(world: World) -> None:
    texts = tuple(CreateMemory(content=f"The port is {number}.") for number in range(SUCCESSORS))
    created = await world.app.call(world.agent("athena"), CreateMemories(memories=texts))
    ids = [each.memory_id for each in created.results]
    following = "SELECT min(next.id) FROM memories_v2 AS next WHERE next.id > memories_v2.id"
    world.change(
        f"UPDATE memories_v2 SET superseded_at = updated_at, superseded_by = ({following}) WHERE id < '{ids[-1]}'"
    )
    new, last = await _create(world, "Another port."), await _create(world, "The last port.")
    await _replace(world, ids[-1], last)
    with pytest.raises(InvalidField, match="1000 times") as refusal:
        await _replace(world, new, ids[0])
    assert refusal.value.field == "superseded_by"
    await _replace(world, new, ids[1])
    await _replace(world, ids[0], None)


async def test_one_memory_replaces_a_thousand_others_at_most(world: World) -> None:
    texts = tuple(CreateMemory(content=f"The port is {number}.") for number in range(REPLACED))
    created = await world.app.call(world.agent("athena"), CreateMemories(memories=texts))
    new, last = await _create(world, "Another port."), await _create(world, "The last port.")
    ended = f"superseded_at = updated_at, superseded_by = '{last}'"
    world.change(f"UPDATE memories_v2 SET {ended} WHERE id NOT IN ('{new}', '{last}')")
    with pytest.raises(InvalidField, match="1000 memories already") as refusal:
        await _replace(world, new, last)
    assert refusal.value.field == "superseded_by"
    await _replace(world, created.results[0].memory_id, last)
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=created.results[0].memory_id))
    await _replace(world, new, last)

    # Nor more than those as one of them is deleted that has itself replaced two.
    olds = [await _create(world, "An old port."), await _create(world, "An older port.")]
    for old in olds:
        await _replace(world, old, new)
    with pytest.raises(InvalidField, match="more than 1000") as refusal:
        await world.app.call(world.agent("athena"), DeleteMemory(memory_id=new))
    assert (refusal.value.field, (await _read(world, olds[0])).superseded_by) == ("memory_id", new)
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=olds[1]))
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=new))
    assert (await _read(world, olds[0])).superseded_by == last


async def test_what_others_replace_keeps_nobody_from_replacing_and_deleting_her_own(world: World) -> None:
    old, new, last = [await _create(world, text, access_level=AccessLevel.PUBLIC) for text in ("1", "2", "3")]
    texts = tuple(CreateMemory(content=f"The port is {number}.") for number in range(REPLACED))
    theirs = (await world.app.call(world.agent("hestia"), CreateMemories(memories=texts))).results
    other = await _create(world, "Another port.", "hestia")
    await _replace(world, other, new, "hestia")
    ended = f"superseded_at = updated_at, superseded_by = '{last}'"
    world.change(f"UPDATE memories_v2 SET {ended} WHERE agent_id = 'hestia' AND id <> '{other}'")
    with pytest.raises(InvalidField, match="1000 memories already"):
        await _replace(world, other, last, "hestia")

    await _replace(world, old, last)
    await _replace(world, new, last)
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=new))
    assert (await _read(world, other)).superseded_by == last
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=last))
    assert (await _read(world, theirs[0].memory_id)).superseded_by is None
