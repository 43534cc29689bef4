"""An agent that wants to know what others have stored, and how much of it, and learns nothing.

It stores texts of its own, searches for words that others use, and reads scores, ranks, explanations, counts, cursors.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.services.conftest import World
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import AccessLevel
from tmws_core.messages.memory import CreateMemories, CreateMemory

pytestmark = pytest.mark.anyio

PROBES = (
    "zebra kite",
    "zebra kite zebra",
    "marble",
    "marble zebra",
    "zebra and many other words that only make a text longer than the others are",
)
QUERIES = ("zebra", "marble", "zebra marble", "zebra kite marble", "merger marble", "project merger")
SECRETS: tuple[dict[str, Any], ...] = (
    {"agent_id": "bob"},
    {"agent_id": "bob", "access_level": AccessLevel.SHARED, "shared_with": ("carol",)},
    {"agent_id": "dora", "access_level": AccessLevel.TEAM},
)


async def store(world: World, caller: Caller, *requests: CreateMemory) -> None:
    for start in range(0, len(requests), 500):
        await world.app.call(caller, CreateMemories(memories=requests[start : start + 500]))


async def learnt(world: World, eve: Caller) -> list[object]:
    """Return all that an agent reads off the answers, but for what time it is and how long they took."""
    seen: list[object] = []
    for query in QUERIES:
        for mode in ("hybrid", "lexical", "semantic"):
            arguments = {"query": query, "mode": mode, "explain": True, "limit": 2}
            while True:
                found = await world.app.call_wire(eve, "search_memories", arguments)
                found.pop("latency_ms")
                cursor = found.get("next_cursor")
                seen.append(found)
                if cursor is None:
                    break
                arguments["cursor"] = cursor
    counted = await world.app.call_wire(eve, "get_memory_stats", {})
    listed = [await world.app.call_wire(eve, name, {"limit": 2}) for name in ("list_agents", "list_memories")]
    figures = await world.app.call_wire(eve, "get_system_stats", {})
    figures.pop("uptime_seconds")
    return [*seen, counted, figures, *listed]


def secrets(texts: Sequence[str]) -> list[CreateMemory]:
    return [CreateMemory(content=text, **SECRETS[place % len(SECRETS)]) for place, text in enumerate(texts)]


async def test_no_figure_tells_what_others_have_stored(world: World) -> None:
    eve = world.agent("eve", "globex")
    await store(world, eve, *(CreateMemory(content=text) for text in PROBES))
    world.change("UPDATE embedding_models SET unrelated = 0.3, related = 0.9")
    before = await learnt(world, eve)
    told = {hit["relevance"] for found in before if isinstance(found, dict) for hit in found.get("results", ())}
    assert told == {"strong", "fair", "weak"}

    texts = [f"The merger with zebra number {number} is a project." for number in range(40)]
    await store(world, world.operator, *secrets([*texts, *(f"Marble {number}." for number in range(15))]))

    assert await learnt(world, eve) == before


async def test_a_probe_is_found_however_much_others_store(world: World) -> None:
    eve = world.agent("eve", "globex")
    await store(world, eve, *(CreateMemory(content=f"zebra {text}") for text in PROBES))
    arguments = {"query": "zebra", "mode": "lexical", "limit": 100, "explain": True}
    before = await world.app.call_wire(eve, "search_memories", arguments)

    await store(world, world.operator, *secrets([f"zebra {number}" for number in range(1200)]))

    after = await world.app.call_wire(eve, "search_memories", arguments)
    assert len(after["results"]) == len(PROBES)
    assert after["results"] == before["results"]


REFERENCES = (1, 2, 4, 8, 16, 32)
"""How many texts the attacker stores with each word whose count it knows."""


async def read_off(world: World, eve: Caller, word: str) -> int:
    """Return the count of a word by the scale of words with known counts: the one that weighs as much, or hardly less.

    This is how a count of 40 hidden memories was read off as 32.
    """
    weighs = 0
    for count in REFERENCES:
        arguments = {"query": f"{word} scale{count}", "mode": "lexical", "limit": 100}
        found = await world.app.call_wire(eve, "search_memories", arguments)
        scores = {hit["content"]: hit["score"] for hit in found["results"]}
        if scores[f"{word} text"] <= scores[f"scale{count} text"]:
            weighs = count
    return weighs


async def test_a_count_is_not_read_off_by_words_whose_counts_are_known(world: World) -> None:
    eve = world.agent("eve", "globex")
    scale = [f"scale{count} text" + " ." * place for count in REFERENCES for place in range(count)]
    await store(world, eve, CreateMemory(content="merger text"), *(CreateMemory(content=text) for text in scale))
    assert await read_off(world, eve, "merger") == 1

    await store(world, world.operator, *secrets([f"The merger, part {number}." for number in range(40)]))

    assert await read_off(world, eve, "merger") == 1
