"""What is said again: repetitions, what is merged, idempotency keys, and what answers may name."""

from typing import Any

import anyio
import pytest

from tests.services.conftest import World
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import SHARES
from tmws_core.errors import KeyConflict, KeyRepeated
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    ListMemories,
    MemoryBrief,
    MemoryCreated,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories
from tmws_core.wire import structure, unstructure

pytestmark = pytest.mark.anyio

PAST, SOON, LATER = "2021-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "2101-01-01T00:00:00Z"


async def create(world: World, content: str = "The gate opens at nine.", /, **said: Any) -> MemoryCreated:
    request = structure({"content": content, **said}, CreateMemory)
    return await world.app.call(athena(world), request)


async def create_all(world: World, *memories: dict[str, Any]) -> tuple[MemoryCreated, ...]:
    request = structure({"memories": list(memories)}, CreateMemories)
    return (await world.app.call(athena(world), request)).results


async def delete(world: World, memory_id: str) -> None:
    await world.app.call(athena(world), DeleteMemory(memory_id=memory_id))


async def stored(world: World) -> list[MemoryBrief]:
    request = ListMemories(limit=100, oldest_first=True, include_expired=True, include_superseded=True, details=True)
    return [*(await world.app.call(world.operator, request)).memories]


async def one(world: World) -> MemoryBrief:
    (memory,) = await stored(world)
    return memory


async def found(world: World, query: str, **filters: Any) -> list[str]:
    request = SearchMemories(query=query, **filters)
    return [hit.memory_id for hit in (await world.app.call(athena(world), request)).results]


def athena(world: World) -> Caller:
    return world.agent("athena")


def events(world: World) -> list[str]:
    return [event for (event,) in world.rows("SELECT event_type FROM security_audit_logs ORDER BY id")]


async def test_the_same_memory_is_reported_and_not_stored_twice(world: World) -> None:
    first = await create(world, "We use uv.")
    second = await create(world, "We use uv.")
    other = await world.app.call(world.agent("artemis"), CreateMemory(content="We use uv."))

    assert (first.stored, first.duplicate_of) == (True, None)
    assert (second.stored, second.memory_id, second.duplicate_of) == (False, first.memory_id, first.memory_id)
    assert second.merged is None
    assert (first.embedding_generated, second.embedding_generated) == (True, True)
    assert first.embedding_latency_ms > second.embedding_latency_ms == 0
    assert (other.stored, other.duplicate_of) == (True, None)
    assert len(await stored(world)) == 2


@pytest.mark.parametrize(
    "said",
    [
        {"session_id": "monday"},
        {"sequence": 2},
        {"occurred_at": PAST},
        {"access_level": "public"},
        {"access_level": "shared", "shared_with": ["hestia"]},
        {"importance": 0.9},
        {"memory_type": "semantic"},
        {"metadata": {"ticket": 2}},
        {"source": "mail"},
    ],
    ids=str,
)
async def test_the_same_text_of_which_something_else_is_said_is_a_memory_of_its_own(
    world: World, said: dict[str, Any]
) -> None:
    first = await create(world, "Yes.", metadata={"ticket": 1}, source="chat")
    second = await create(world, "Yes.", **said)
    again = await create(world, "Yes.", **said)

    assert (second.stored, second.duplicate_of) == (True, None)
    assert second.memory_id != first.memory_id
    assert (again.stored, again.duplicate_of, again.merged) == (False, second.memory_id, None)
    view = unstructure((await stored(world))[1])
    kept = {"shared_with": [{"agent_id": "hestia", "permission": "read"}]} if "shared_with" in said else {}
    assert {name: view[name] for name in said} == said | kept


async def test_of_several_memories_the_oldest_that_lacks_least_is_added_to(world: World) -> None:
    for importance, tags in ((0.2, []), (0.4, ["x"]), (0.6, ["x"])):
        await create(world, importance=importance, tags=tags)
    _, second, third = [each.memory_id for each in await stored(world)]

    same = await create(world, importance=0.6, tags=["x"])
    more = await create(world, tags=["x"], metadata={"ticket": 1})

    assert (same.duplicate_of, same.merged) == (third, None)
    assert (more.duplicate_of, more.merged) == (second, ("metadata",))


async def test_texts_that_differ_in_white_space_are_two(world: World) -> None:
    assert (await create(world, "if a:\n    b()\n    c()")).stored
    assert (await create(world, "if a:\n    b()\nc()")).stored
    assert len(await stored(world)) == 2


async def test_what_loses_nothing_is_merged_and_the_answer_says_what(world: World) -> None:
    first = await create(world, tags=["door"], metadata={"ticket": 1}, expires_at=SOON)
    second = await create(world, tags=["gate", "door"], metadata={"by": "Ana"}, expires_at=LATER, source="chat")

    assert (second.stored, second.memory_id, second.duplicate_of) == (False, first.memory_id, first.memory_id)
    assert second.merged == ("tags", "metadata", "source", "expires_at")
    memory = await one(world)
    assert memory.tags == ("door", "gate")
    assert memory.metadata == {"ticket": 1, "by": "Ana"}
    assert (memory.source, memory.version, memory.embedded) == ("chat", 2, True)
    assert memory.expires_at is not None
    assert memory.expires_at.year == 2101
    assert await found(world, "gate", tags_any=("gate",)) == [first.memory_id]
    assert events(world)[-2:] == ["memory.created", "memory.updated"]


async def test_what_was_said_already_is_no_change(world: World) -> None:
    await create(world, tags=["a", "b"], metadata={"x": 1, "y": 2}, source="chat", importance=0.9)
    for said in ({}, {"tags": ["b"]}, {"metadata": {"y": 2}}, {"source": "chat", "importance": 0.9}):
        again = await create(world, **said)
        assert (again.stored, again.merged) == (False, None)
    assert (await one(world)).version == 1


async def test_the_later_expiry_counts_and_none_is_the_latest(world: World) -> None:
    await create(world, expires_at=SOON)
    assert (await create(world)).merged == ("expires_at",)
    assert (await one(world)).expires_at is None

    assert (await create(world, expires_at=SOON)).merged == ("expires_at",)
    memory = await one(world)
    assert (memory.expires_at, memory.version) == (None, 2)


async def test_one_and_true_are_not_the_same_value(world: World) -> None:
    await create(world, metadata={"count": 1})
    assert (await create(world, metadata={"count": True})).stored
    assert (await create(world, metadata={"count": 1.0})).stored
    assert len(await stored(world)) == 3


async def test_what_together_would_be_too_much_is_two_memories(world: World) -> None:
    await create(world, tags=[f"a{number}" for number in range(20)])
    assert (await create(world, tags=[f"b{number}" for number in range(20)])).stored
    await create(world, "long", metadata={"a": "x" * 10_000})
    assert (await create(world, "long", metadata={"b": "x" * 10_000})).stored
    for agent in ("a", "b"):
        readers = [f"{agent}{number}" for number in range(SHARES // 2 + 1)]
        assert (await create(world, "read", access_level="shared", shared_with=readers)).stored
    assert len(await stored(world)) == 6


async def test_a_list_of_readers_grows_only_where_they_learn_nothing_but_the_text(world: World) -> None:
    shared: dict[str, Any] = {"access_level": "shared"}
    first = await create(world, **shared, shared_with=["hestia"])
    second = await create(world, **shared, shared_with=["eris"])
    assert (second.memory_id, second.merged) == (first.memory_id, ("shared_with",))
    assert (await create(world, **shared, shared_with=["hera"])).merged == ("shared_with",)

    tagged = await create(world, **shared, shared_with=["pan"], tags=["for pan"])
    assert tagged.stored
    await world.app.call(athena(world), UpdateMemory(memory_id=first.memory_id, content="The gate opens at ten."))
    changed = await create(world, "The gate opens at ten.", **shared, shared_with=["pan"])
    assert changed.stored


async def test_a_reader_who_may_write_by_now_is_still_one(world: World) -> None:
    first = await create(world, access_level="shared", shared_with=["hestia"])
    request = structure({"memory_id": first.memory_id, "shared_with": ["hestia"], "permission": "write"}, ShareMemory)
    await world.app.call(athena(world), request)
    again = await create(world, access_level="shared", shared_with=["hestia"])
    assert (again.stored, again.merged) == (False, None)


@pytest.mark.parametrize("said", [{}, {"expires_at": LATER}])
async def test_what_is_expired_is_stored_again(world: World, said: dict[str, Any]) -> None:
    gone = await create(world, "Gate code is 4411.", expires_at=PAST)
    again = await create(world, "Gate code is 4411.", **said)
    assert again.stored
    assert await found(world, "gate code") == [again.memory_id]
    assert again.memory_id != gone.memory_id


async def test_what_is_superseded_or_deleted_is_stored_again(world: World) -> None:
    old, new = await create(world, "The office is in Oslo."), await create(world, "The office is in Bergen.")
    await world.app.call(athena(world), UpdateMemory(memory_id=old.memory_id, superseded_by=new.memory_id))
    assert (await create(world, "The office is in Oslo.")).stored
    await delete(world, new.memory_id)
    assert (await create(world, "The office is in Bergen.")).stored


async def test_a_repeated_key_answers_with_the_first_result(world: World) -> None:
    said = {"tags": ["a"], "idempotency_key": "k"}
    first = await create(world, **said)
    await world.app.call(athena(world), UpdateMemory(memory_id=first.memory_id, content="Another.", tags=("b",)))
    again = await create(world, **said)
    assert (again.stored, again.memory_id, again.duplicate_of) == (False, first.memory_id, None)
    assert (await one(world)).tags == ("b",)
    other = await world.app.call(world.agent("artemis"), CreateMemory(content="Two.", idempotency_key="k"))
    assert other.stored


@pytest.mark.parametrize(
    ("said", "differs"),
    [
        ({"content": "Two."}, "content"),
        ({"content": "One. "}, "content"),
        ({"access_level": "public"}, "access_level"),
        ({"session_id": "s"}, "session_id"),
        ({"occurred_at": PAST}, "occurred_at"),
        ({"importance": 0.9}, "importance"),
        ({"metadata": {"a": 2}}, "metadata"),
    ],
    ids=str,
)
async def test_a_key_that_stands_for_something_else_is_a_conflict(
    world: World, said: dict[str, Any], differs: str
) -> None:
    first = await create(world, "One.", idempotency_key="k", metadata={"a": 1})
    request = {"content": "One.", "idempotency_key": "k", **said}
    with pytest.raises(KeyConflict) as conflict:
        await world.app.call(athena(world), structure(request, CreateMemory))
    assert (conflict.value.code, conflict.value.field) == ("conflict", "idempotency_key")
    assert (conflict.value.memory_id, conflict.value.differs) == (first.memory_id, differs)
    assert conflict.value.remedy
    with pytest.raises(KeyConflict) as conflict:
        await create_all(world, {"content": "Three."}, request)
    assert conflict.value.field == "memories[1].idempotency_key"
    assert (await one(world)).memory_id == first.memory_id


async def test_a_key_with_more_to_say_of_its_memory_adds_that(world: World) -> None:
    first = await create(world, idempotency_key="k")
    more = await create(world, idempotency_key="k", tags=["gate"])
    assert (more.stored, more.memory_id, more.merged) == (False, first.memory_id, ("tags",))
    assert (await one(world)).tags == ("gate",)


async def test_the_key_of_a_deleted_memory_is_free(world: World) -> None:
    first = await create(world, "One.", idempotency_key="k")
    await delete(world, first.memory_id)
    assert (await create(world, "One.", idempotency_key="k")).stored
    await delete(world, (await one(world)).memory_id)
    second = await create(world, "Two.", idempotency_key="k")
    assert second.stored
    assert (await one(world)).memory_id == second.memory_id


async def test_the_key_of_what_is_expired_or_superseded_stands_for_its_own_request_only(world: World) -> None:
    expired = await create(world, "One.", idempotency_key="k", expires_at=PAST)
    again = await create(world, "One.", idempotency_key="k", expires_at=PAST)
    assert (again.stored, again.memory_id) == (False, expired.memory_id)
    fresh = await create(world, "One.", idempotency_key="k")
    assert fresh.stored

    other = await create(world, "Two.")
    await world.app.call(athena(world), UpdateMemory(memory_id=fresh.memory_id, superseded_by=other.memory_id))
    assert (await create(world, "One.", idempotency_key="k")).memory_id == fresh.memory_id
    assert (await create(world, "Three.", idempotency_key="k")).stored


async def test_a_key_that_came_with_a_duplicate_is_remembered_for_it(world: World) -> None:
    first = await create(world, "One.")
    keyed = await create(world, "One.", idempotency_key="k")
    again = await create(world, "One.", idempotency_key="k")
    assert [keyed.duplicate_of, again.duplicate_of] == [first.memory_id] * 2
    with pytest.raises(KeyConflict):
        await create(world, "Two.", idempotency_key="k")
    await world.app.call(athena(world), UpdateMemory(memory_id=first.memory_id, content="Changed."))
    assert (await create(world, "One.", idempotency_key="k")).memory_id == first.memory_id
    assert (await one(world)).content == "Changed."


async def test_a_key_of_a_version_that_kept_its_memory_only_stands_for_all_of_its_texts(world: World) -> None:
    first = await create(world, "One.", idempotency_key="k")
    world.change("UPDATE idempotency_keys SET request_hash = NULL")
    await world.app.call(athena(world), UpdateMemory(memory_id=first.memory_id, content="Two."))
    for content in ("One.", "Two."):
        again = await create(world, content, idempotency_key="k", tags=["a"], importance=0.9)
        assert (again.stored, again.memory_id) == (False, first.memory_id)
    with pytest.raises(KeyConflict):
        await create(world, "Three.", idempotency_key="k")


async def test_a_batch_follows_the_same_rules(world: World) -> None:
    results = await create_all(
        world,
        {"content": "A."},
        {"content": "B.", "idempotency_key": "k"},
        {"content": "A.", "tags": ["a"]},
        {"content": "B.", "idempotency_key": "k"},
        {"content": "A.", "session_id": "s"},
        {"content": "A.", "expires_at": PAST, "session_id": "t"},
        {"content": "A.", "session_id": "t"},
    )
    first, second, third, fourth, *others = results
    assert (third.memory_id, third.duplicate_of, third.merged) == (first.memory_id, first.memory_id, ("tags",))
    assert (fourth.memory_id, fourth.stored, fourth.duplicate_of) == (second.memory_id, False, None)
    assert all(each.stored for each in others)
    assert {each.embedding_generated for each in results} == {True}
    assert [each.embedding_latency_ms > 0 for each in results] == [each.stored for each in results]
    memories = await stored(world)
    assert [each.memory_id for each in memories] == list(dict.fromkeys(each.memory_id for each in results))
    assert (memories[0].tags, memories[0].version) == (("a",), 1)


@pytest.mark.parametrize(
    ("batch", "other"),
    [
        ([{"content": "Old.", "idempotency_key": "k"}, {"content": "New.", "idempotency_key": "k"}], 0),
        ([{"content": "New.", "idempotency_key": "k"}, {"content": "Newer.", "idempotency_key": "k"}], 0),
        (
            [
                {"content": "New."},
                {"content": "New.", "idempotency_key": "k"},
                {"content": "Old."},
                {"content": "New.", "idempotency_key": "k", "importance": 0.9},
            ],
            1,
        ),
    ],
    ids=str,
)
async def test_a_batch_with_one_key_for_two_memories_stores_none_and_names_the_other_request(
    world: World, batch: list[dict[str, Any]], other: int
) -> None:
    old = await create(world, "Old.")
    with pytest.raises(KeyRepeated) as conflict:
        await create_all(world, *batch)
    assert (conflict.value.code, conflict.value.field) == ("conflict", f"memories[{len(batch) - 1}].idempotency_key")
    assert conflict.value.other == f"memories[{other}]"
    assert conflict.value.remedy
    assert (await one(world)).memory_id == old.memory_id
    assert (await create(world, "New.", idempotency_key="k")).stored


async def test_of_two_calls_at_once_with_one_key_one_stores(world: World) -> None:
    answers: list[MemoryCreated] = []
    conflicts: list[KeyConflict] = []

    async def store(content: str) -> None:
        try:
            answers.append(await create(world, content, idempotency_key="k"))
        except KeyConflict as error:
            conflicts.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(store, f"Text {number % 2}.")
    memory = await one(world)
    assert {each.memory_id for each in answers} == {memory.memory_id}
    assert {each.memory_id for each in conflicts} == {memory.memory_id}
    assert (len(answers), len(conflicts), sum(each.stored for each in answers)) == (4, 4, 1)


async def test_of_many_calls_at_once_with_one_text_each_tag_stays(world: World) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(lambda number: create(world, tags=[f"t{number}"]), number)
    assert {*(await one(world)).tags} == {f"t{number}" for number in range(8)}


async def test_what_has_expired_before_it_is_stored_leaves_the_living_alone(world: World) -> None:
    living = await create(world, "Gate code is 4411.")
    expired = await create(world, "Gate code is 4411.", expires_at=PAST)
    assert (living.expired, expired.stored, expired.expired) == (None, True, True)
    assert await found(world, "gate code") == [living.memory_id]
    assert [each.expires_at is None for each in await stored(world)] == [True, False]
