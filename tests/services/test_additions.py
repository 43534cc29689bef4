"""What a repetition adds to the memory that it repeats."""

from typing import Any

import attrs
import pytest

from tests.services.conftest import World
from tests.services.test_storing import athena, create, create_all, delete, one, stored
from tmws_core.messages.memory import CreateMemory, UpdateMemory

pytestmark = pytest.mark.anyio


async def test_what_one_of_several_says_already_is_not_added_to_another(world: World) -> None:
    await create(world, "Yes.", metadata={"ticket": 1})
    second = await create(world, "Yes.", metadata={"ticket": 2}, tags=["a"])

    again = await create(world, "Yes.", tags=["a"])

    assert (again.memory_id, again.merged) == (second.memory_id, None)
    assert [memory.tags for memory in await stored(world)] == [(), ("a",)]


async def test_a_batch_that_adds_to_a_stored_memory_twice_makes_one_version(world: World) -> None:
    await create(world, "A.")
    await create_all(world, {"content": "A.", "tags": ["a"]}, {"content": "A.", "tags": ["b"]})
    memory = await one(world)
    assert (memory.tags, memory.version) == (("a", "b"), 2)


async def test_a_text_that_was_changed_once_gets_no_new_readers(world: World) -> None:
    shared: dict[str, Any] = {"access_level": "shared"}
    first = await create(world, "The code is 4411.", **shared, shared_with=["hestia"])
    await world.app.call(athena(world), UpdateMemory(memory_id=first.memory_id, content="The gate opens at ten."))
    assert (await create(world, "The gate opens at ten.", **shared, shared_with=["pan"])).stored


@pytest.mark.parametrize(
    "labels",
    [
        {"tags": ["raise"]},
        {"metadata": {"we pay": 90}},
        {"source": "appraisal.md"},
        {"importance": 0.9},
        {"memory_type": "semantic"},
    ],
    ids=str,
)
async def test_new_readers_are_shown_no_labels_that_were_meant_for_others(world: World, labels: dict[str, Any]) -> None:
    shared: dict[str, Any] = {"access_level": "shared"}
    first = await create(world, **shared, shared_with=["hestia"], **labels)

    other = await create(world, **shared, shared_with=["pan"])
    same = await create(world, **shared, shared_with=["pan"], **labels)

    assert (other.stored, other.duplicate_of) == (True, None)
    assert (same.memory_id, same.merged) == (first.memory_id, ("shared_with",))


async def test_the_first_reader_is_not_shown_former_texts(world: World) -> None:
    shared: dict[str, Any] = {"access_level": "shared"}
    first = await create(world, "The code is 4411.", **shared)
    await world.app.call(athena(world), UpdateMemory(memory_id=first.memory_id, content="The gate opens at ten."))
    assert (await create(world, "The gate opens at ten.", **shared, shared_with=["pan"])).stored


async def test_whoever_adds_to_a_memory_has_written_it_last(world: World) -> None:
    await create(world, "A.")
    operator = attrs.evolve(world.operator, transport="cli")
    await world.app.call(operator, CreateMemory(content="A.", tags=("a",), agent_id="athena"))
    memory = await one(world)
    assert (memory.tags, memory.written_by, memory.transport) == (("a",), operator.agent_id, "cli")


async def test_of_two_that_replace_each_other_the_one_that_stays_is_in_force(world: World) -> None:
    first, second = await create(world, "One."), await create(world, "Two.")
    pair = f"('{first.memory_id}', '{second.memory_id}')"
    other = f"CASE id WHEN '{first.memory_id}' THEN '{second.memory_id}' ELSE '{first.memory_id}' END"
    world.change(f"UPDATE memories_v2 SET superseded_at = created_at, superseded_by = {other} WHERE id IN {pair}")
    await delete(world, second.memory_id)
    assert world.rows("SELECT superseded_by, superseded_at FROM memories_v2") == [(None, None)]
