"""Answers have a bound: what is long is cut, says so, and is there whole for whoever asks."""

import json
from typing import Any

import anyio
import anyio.from_thread
import pytest

from tests.contracts import builders
from tests.services.conftest import World
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import CONTENT_BYTES, TAGS, AccessLevel
from tmws_core.errors import InvalidField
from tmws_core.messages import views
from tmws_core.messages.memory import ALL, RANGE, ROOM, CreateMemory, GetMemory, ListMemories, UpdateMemory
from tmws_core.messages.search import SearchMemories

pytestmark = pytest.mark.anyio

FILLER = "The weather in the valley stays mild and the river runs low. "

PAGE_BYTES = 6000
"""Of a page of ten as JSON: half of what an answer over MCP may have, which has a readable text as well."""


def long(fact: str) -> str:
    half = FILLER * 480
    return f"{half}{fact} {half}"


async def size_of(world: World, name: str, **arguments: Any) -> int:
    answer = await world.app.call_wire(world.agent("athena"), name, arguments)
    return len(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode())


async def test_long_memories_are_found_by_what_is_around_the_words_of_the_query(world: World) -> None:
    athena = world.agent("athena")
    facts = [f"The dentist appointment number {number} is on Tuesday." for number in range(12)]
    tags = tuple(f"{number:02}".ljust(64, "t") for number in range(TAGS))
    for fact in facts:
        await world.app.call(athena, CreateMemory(content=long(fact), tags=tags))
    found = await world.app.call(athena, SearchMemories(query="When is the dentist appointment?"))
    assert len(found.results) == 10
    for hit in found.results:
        [fact] = [fact for fact in facts if fact in hit.content]
        assert (hit.truncated, hit.length) == (True, len(long(fact)))
        assert long(fact)[hit.offset :].startswith(hit.content.strip("\u2026")[:20])
        assert (hit.tags, hit.more_tags) == (tags[:1], TAGS - 1)
        assert [hit.metadata, hit.similarity, hit.agent_id, hit.namespace] == [None] * 4
    sizes = [len(hit.content.encode()) for hit in found.results]
    assert sum(sizes) <= ROOM
    assert sizes[0] > 1.5 * max(sizes[1:])
    assert await size_of(world, "search_memories", query="When is the dentist appointment?") <= PAGE_BYTES
    assert await size_of(world, "list_memories", limit=10) <= PAGE_BYTES


async def test_memories_in_any_script_have_the_room_that_is_asked_for(world: World) -> None:
    athena = world.agent("athena")
    for number in range(5):
        await world.app.call(athena, CreateMemory(content=f"{number} \u6b6f\u533b\u8005\u306e\u4e88\u7d04" * 1000))
    for room in (100, 1000, 10_000):
        found = await world.app.call(athena, SearchMemories(query="\u6b6f\u533b\u8005", max_chars=room))
        listed = await world.app.call(athena, ListMemories(max_chars=room))
        for contents in ([hit.content for hit in found.results], [memory.content for memory in listed.memories]):
            assert len(contents) == 5
            assert 0.8 * room - 90 < sum(len(content.encode()) for content in contents) <= room


async def test_short_memories_stay_whole_beside_long_ones(world: World) -> None:
    athena = world.agent("athena")
    short = "The dentist is on Monday."
    for content in (short, long("The dentist is on Tuesday.")):
        await world.app.call(athena, CreateMemory(content=content))
    found = await world.app.call(athena, SearchMemories(query="dentist"))
    hits = {hit.truncated: hit for hit in found.results}
    assert (hits[None].content, hits[None].length, hits[None].offset) == (short, None, None)
    assert len(hits[True].content) > ROOM / 2


async def test_with_room_and_details_a_page_tells_all(world: World) -> None:
    athena = world.agent("athena")
    content = long("The dentist is on Tuesday.")
    created = await world.app.call(athena, CreateMemory(content=content, tags=("a" * 64, "b" * 64), metadata={"k": 1}))
    view = (await world.app.call(athena, GetMemory(memory_id=created.memory_id, max_chars=ALL))).memory
    found = await world.app.call(athena, SearchMemories(query="dentist", max_chars=ALL, details=True))
    listed = await world.app.call(athena, ListMemories(max_chars=ALL, details=True))
    for brief in (found.results[0], listed.memories[0]):
        assert (brief.content, brief.truncated, brief.length, brief.offset) == (content, None, None, None)
        assert (brief.tags, brief.more_tags) == (view.tags, None)
        assert (brief.metadata, brief.agent_id, brief.version) == ({"k": 1}, "athena", 1)
    assert found.results[0].allowed_by == "owner"


async def test_a_row_names_the_namespace_unless_it_is_the_caller_s_or_was_asked_for(world: World) -> None:
    shop, blog = (Caller(agent_id="athena", namespace=name, transport="python") for name in ("shop", "blog"))
    for caller in (shop, blog):
        await world.app.call(caller, CreateMemory(content=f"The {caller.namespace} listens on a port."))

    async def told(**wanted: Any) -> set[str | None]:
        found = (await world.app.call(shop, SearchMemories(query="port", **wanted))).results
        listed = (await world.app.call(shop, ListMemories(**wanted))).memories
        assert {each.namespace for each in found} == {each.namespace for each in listed}
        return {each.namespace for each in found}

    assert await told() == {None, "blog"}
    assert await told(namespace="blog") == {None}
    assert await told(details=True) == {"shop", "blog"}


async def test_a_long_memory_is_read_in_ranges_that_are_the_whole_together(world: World) -> None:
    athena = world.agent("athena")
    content = long("The dentist is on Tuesday.")
    created = await world.app.call(athena, CreateMemory(content=content))
    read, more = "", True
    while more:
        found = await world.app.call(athena, GetMemory(memory_id=created.memory_id, offset=len(read)))
        assert (found.length, found.offset) == (len(content), len(read))
        assert len(found.memory.content) <= RANGE
        read += found.memory.content
        more = found.next_offset == len(read)
    assert (read, found.next_offset) == (content, None)
    behind = await world.app.call(athena, GetMemory(memory_id=created.memory_id, offset=CONTENT_BYTES))
    assert (behind.memory.content, behind.length, behind.next_offset) == ("", len(content), None)
    whole = await world.app.call(athena, GetMemory(memory_id=created.memory_id, max_chars=CONTENT_BYTES))
    assert (whole.memory.content, whole.length, whole.offset, whole.next_offset) == (content, None, None, None)


async def test_a_page_of_former_texts_has_as_many_as_have_room_and_one_at_least(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content=long("The dentist is on Tuesday.")))
    for number in range(100):
        content = f"The dentist is on Wednesday, room {number}."
        await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content=content))
    seen: list[int] = []
    request: dict[str, Any] = {"memory_id": created.memory_id, "include_history": True}
    while request.get("cursor", "first"):
        answer = await world.app.call_wire(athena, "get_memory", request)
        assert len(json.dumps(answer["history"])) < RANGE * 1.25
        seen += [text["version"] for text in answer["history"]][::-1]
        request["cursor"] = answer.get("next_cursor")
    assert seen == [*range(100, 0, -1)]
    oldest = answer["history"][0]
    assert (oldest["length"], oldest["content"][-1]) == (len(long("The dentist is on Tuesday.")), "\u2026")
    request = {
        "memory_id": created.memory_id,
        "include_history": True,
        "oldest_first": True,
        "max_chars": CONTENT_BYTES,
    }
    whole = (await world.app.call_wire(athena, "get_memory", request))["history"][0]
    assert whole["content"] == long("The dentist is on Tuesday.")
    assert "length" not in whole


async def test_a_cursor_goes_on_with_another_bound(world: World) -> None:
    athena = world.agent("athena")
    for number in range(3):
        await world.app.call(athena, CreateMemory(content=long(f"Dentist {number}.")))
    for name, query in (("search_memories", {"query": "dentist"}), ("list_memories", {})):
        first = await world.app.call_wire(athena, name, {**query, "limit": 2})
        more = {"cursor": first["next_cursor"], "max_chars": 100, "details": True}
        second = await world.app.call_wire(athena, name, {**query, "limit": 2, **more})
        [rest] = second.get("results") or second["memories"]
        assert len(rest["content"]) <= 100
        assert rest["agent_id"] == "athena"


@pytest.mark.parametrize("name", ["search_memories", "list_memories", "get_memory"])
async def test_a_bound_is_at_least_one(world: World, name: str) -> None:
    required = {"search_memories": {"query": "x"}, "get_memory": {"memory_id": "0198c0de-0000-7000-8000-000000000000"}}
    for wrong in (0, ALL + 1):
        with pytest.raises(InvalidField) as refusal:
            await world.app.call_wire(world.agent("athena"), name, required.get(name, {}) | {"max_chars": wrong})
        assert refusal.value.field == "max_chars"


async def test_another_agent_s_memory_says_whose_it_is(world: World) -> None:
    for agent_id in ("athena", "artemis"):
        request = CreateMemory(content=f"A note of {agent_id}.", access_level=AccessLevel.PUBLIC)
        await world.app.call(world.agent(agent_id), request)
    listed = await world.app.call(world.agent("athena"), ListMemories())
    assert [memory.agent_id for memory in listed.memories] == ["artemis", None]


async def test_no_more_excerpts_are_made_for_who_has_gone() -> None:
    looked: list[str] = []

    class Leaving(str):
        __slots__ = ()

        def lower(self) -> str:
            looked.append(self)
            anyio.from_thread.run_sync(asker.cancel)
            return super().lower()

    contents = [Leaving(long(f"Dentist {number}.")) for number in range(3)]
    with anyio.CancelScope() as asker:
        await views.shown([builders.memory(content=content) for content in contents], 300, "dentist")
    assert asker.cancelled_caught
    assert looked == contents[:1]
