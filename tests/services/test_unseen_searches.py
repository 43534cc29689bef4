"""A whole search answers as in a store without what its caller may not see: hits, scores, explanations, pages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import anyio
import attrs
import pytest

from tests.services.conftest import World
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import AccessLevel
from tmws_core.messages.memory import CreateMemories, CreateMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories, SearchMode

pytestmark = pytest.mark.anyio

WORDS = ("apples", "pears", "plums", "cherries", "melons", "quinces", "figs")
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
QUERIES = ("apples pears", "figs", "quinces plums melons", "the cherries")
OTHERS: tuple[dict[str, Any], ...] = (
    {"agent_id": "bob"},
    {"agent_id": "bob", "access_level": AccessLevel.SHARED, "shared_with": ("carol",)},
    {"agent_id": "dora", "namespace": "globex", "access_level": AccessLevel.TEAM},
)
SEEN: tuple[dict[str, Any], ...] = (
    {"agent_id": "eve"},
    {"agent_id": "eve", "expires_at": FUTURE},
    {"agent_id": "bob", "access_level": AccessLevel.PUBLIC},
    {"agent_id": "bob", "access_level": AccessLevel.TEAM},
    {"agent_id": "bob", "access_level": AccessLevel.SHARED, "shared_with": ("eve",)},
)
"""Memories that eve, of acme, sees; those of OTHERS she does not."""


def text(random: Random) -> str:
    return " ".join(random.choices(WORDS, [9, 6, 4, 3, 2, 1, 1], k=random.randrange(1, 12)))


def drafts(random: Random, kinds: Sequence[dict[str, Any]], count: int) -> list[CreateMemory]:
    """Return memories of these kinds, some of them turns of the same sessions."""
    return [
        CreateMemory(
            content=f"{text(random)} {random.random()}",
            session_id=random.choice([None, "s", "t"]),
            sequence=random.randrange(20),
            **{"namespace": "acme"} | random.choice(kinds),
        )
        for _ in range(count)
    ]


async def create(world: World, memories: Sequence[CreateMemory]) -> list[str]:
    created = await world.app.call(world.operator, CreateMemories(memories=tuple(memories)))
    return [each.memory_id for each in created.results]


async def answers(world: World, eve: Caller) -> list[object]:
    """Return all pages of all answers, cursors included, but for how long they took."""
    seen: list[object] = []
    for query in QUERIES:
        for mode in SearchMode:
            arguments: dict[str, Any] = {"query": query, "mode": mode.value, "explain": True, "limit": 7}
            while True:
                found = await world.app.call_wire(eve, "search_memories", arguments)
                found.pop("latency_ms")
                seen.append(found)
                if found.get("next_cursor") is None:
                    break
                arguments["cursor"] = found["next_cursor"]
    return seen


async def settled(world: World) -> None:
    """Wait until every memory has its vector, and it is known what cosines mean: it has a part in relevance."""
    waiting = """
        SELECT 1 FROM memories_v2 WHERE model IS NULL UNION SELECT 1 FROM embedding_models WHERE related IS NULL LIMIT 1
    """
    with anyio.fail_after(60):
        while world.rows(waiting):
            # A search finds that the embedder is back.
            await world.app.call(world.operator, SearchMemories(query="back", mode=SearchMode.SEMANTIC))
            await anyio.sleep(0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_whole_search_is_that_of_a_store_without_what_is_not_seen(world: World, seed: int) -> None:
    random, eve = Random(seed), world.agent("eve")
    await create(world, drafts(random, SEEN, 20))
    world.ollama.stop()
    await create(world, drafts(random, SEEN, 5))
    world.ollama.start()
    await settled(world)
    before = await answers(world, eve)

    hidden = await create(world, drafts(random, OTHERS, 30))
    assert await answers(world, eve) == before
    world.ollama.stop()
    late = await create(world, drafts(random, OTHERS, 10))
    world.ollama.start()
    await settled(world)
    assert await answers(world, eve) == before

    # What was hers is no more: it has expired, or was replaced.
    gone = [attrs.evolve(each, expires_at=PAST) for each in drafts(random, SEEN[:1], 5)]
    await create(world, gone)
    replaced = [attrs.evolve(each, content=f"replaced {each.content}", expires_at=None) for each in gone]
    for memory_id in await create(world, replaced):
        await world.app.call(world.operator, UpdateMemory(memory_id=memory_id, superseded_by=random.choice(hidden)))
    for memory_id in random.sample(hidden + late, 10):
        await world.app.call(world.operator, UpdateMemory(memory_id=memory_id, content=text(random)))
    await settled(world)
    assert await answers(world, eve) == before
