"""Pages of one search fit together, however deep they go, and so do those of a list."""

import threading
from collections.abc import Sequence
from itertools import product

import anyio
import attrs
import pytest

from tests.services.conftest import World, word_counts
from tmws_core.domain.agent import Caller
from tmws_core.messages.memory import CreateMemories, CreateMemory, ListMemories
from tmws_core.messages.search import MemoryHit, SearchMemories, SearchMode

pytestmark = pytest.mark.anyio

PLACES = ("garden", "shed", "garden by the sea", "old garden wall")
MEMORIES = 460
"""More than twice as many as a first page looks at, so that a page begins within each part of the order."""


async def _fill(world: World) -> None:
    """Store memories of which many are equally good, some say the same, and half lie beyond the words of a query."""
    texts = [f"Note {number // 2} on the {PLACES[number % 4]}{'!' * (number % 8 // 4)}" for number in range(MEMORIES)]
    texts = list(dict.fromkeys(f"{text} {number % 3}" for number, text in enumerate(texts)))
    for start in range(0, len(texts), 100):
        batch = tuple(CreateMemory(content=text) for text in texts[start : start + 100])
        await world.app.call(world.agent("athena"), CreateMemories(memories=batch))


async def _all_pages(world: World, caller: Caller, request: SearchMemories) -> list[MemoryHit]:
    hits: list[MemoryHit] = []
    while True:
        found = await world.app.call(caller, request)
        hits += found.results
        if found.next_cursor is None:
            return hits
        assert len(found.results) == request.limit
        request = attrs.evolve(request, cursor=found.next_cursor)


async def test_pages_of_any_size_show_the_same_hits_in_the_same_order_and_each_once(world: World) -> None:
    await _fill(world)
    athena = world.agent("athena")
    for mode, least in product(SearchMode, (None, 0.1, 0.6)):
        request = SearchMemories(query="old garden note 7", mode=mode, min_similarity=least, explain=True)
        orders = []
        for limit in (41, 64, 100):
            hits = await _all_pages(world, athena, attrs.evolve(request, limit=limit))
            orders.append([hit.memory_id for hit in hits])
            assert least is None or all(hit.similarity is not None and hit.similarity >= least for hit in hits)
        assert len(set(orders[0])) == len(orders[0])
        assert orders[0] == orders[1] == orders[2], (mode, least)


async def test_pages_with_the_oldest_first_show_what_is_stored_between_them(world: World) -> None:
    athena, begun, going_on = world.agent("athena"), threading.Event(), threading.Event()

    def vectors(texts: Sequence[str]) -> list[list[float]]:
        if any("slow" in text for text in texts):
            begun.set()
            assert going_on.wait(60)
        return word_counts(texts)

    world.ollama.vectors = vectors
    request = ListMemories(limit=2, oldest_first=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.app.call, athena, CreateMemory(content="A slow one.", idempotency_key="slow"))
        assert await anyio.to_thread.run_sync(begun.wait, 60)
        for number in range(3):
            await world.app.call(athena, CreateMemory(content=f"Quick {number}."))
        first = await world.app.call(athena, request)
        going_on.set()
    second = await world.app.call(athena, attrs.evolve(request, cursor=first.next_cursor))

    shown = [each.content for each in (*first.memories, *second.memories)]
    assert shown == ["Quick 0.", "Quick 1.", "Quick 2.", "A slow one."]
    again = await world.app.call(athena, CreateMemory(content="A slow one.", idempotency_key="slow"))
    assert again.memory_id == second.memories[-1].memory_id


async def test_pages_reach_every_memory_that_a_list_holds(world: World) -> None:
    await _fill(world)
    athena = world.agent("athena")
    stored = world.rows("SELECT count(*) FROM memories_v2")[0][0]
    by_meaning = SearchMemories(query="old garden note 7", mode=SearchMode.SEMANTIC, limit=100, explain=True)
    for request in (by_meaning, attrs.evolve(by_meaning, mode=SearchMode.HYBRID)):
        assert len(await _all_pages(world, athena, request)) == stored
    similar = [hit for hit in await _all_pages(world, athena, by_meaning) if (hit.similarity or 0) >= 0.3]
    assert len(similar) > 200
    for mode in (SearchMode.SEMANTIC, SearchMode.HYBRID):
        request = attrs.evolve(by_meaning, mode=mode, min_similarity=0.3)
        assert {hit.memory_id for hit in await _all_pages(world, athena, request)} == {hit.memory_id for hit in similar}
