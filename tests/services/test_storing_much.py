"""Storing much at once beside much that is alike: what is done for it is counted."""

import threading
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from tests.services.conftest import World
from tmws_adapters.postgres.reader import PostgresMemoryReader
from tmws_adapters.sqlite.reader import SqliteMemoryReader
from tmws_core.domain.memory import AccessLevel
from tmws_core.messages.memory import CreateMemories, CreateMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories

pytestmark = pytest.mark.anyio


def count(
    monkeypatch: pytest.MonkeyPatch, reader: type[SqliteMemoryReader | PostgresMemoryReader], asked: list[str | None]
) -> None:
    original = reader.rewritten

    async def counted(self: Any, memory_ids: Collection[str], content: str | None = None) -> set[str]:
        asked.append(content)
        return await original(self, memory_ids, content)

    monkeypatch.setattr(reader, "rewritten", counted)


async def test_no_former_text_is_read_to_know_that_there_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    for reader in (SqliteMemoryReader, PostgresMemoryReader):
        monkeypatch.delattr(reader, "history")
        count(monkeypatch, reader, asked)
    athena = world.agent("athena")
    same = CreateMemory(content="x", access_level=AccessLevel.SHARED, shared_with=("bob",))
    shared = await world.app.call(athena, same)
    for content in ("y", "x"):
        await world.app.call(athena, UpdateMemory(memory_id=shared.memory_id, content=content))

    keyed = tuple(
        CreateMemory(content="x", access_level=AccessLevel.SHARED, shared_with=("bob",), idempotency_key=f"k{number}")
        for number in range(50)
    )
    stored = await world.app.call(athena, CreateMemories(memories=keyed))

    assert {each.duplicate_of for each in stored.results} == {shared.memory_id}
    assert len(asked) <= 2


class Watched(dict[str, Any]):
    """Metadata that knows how often, and in how many threads, it was looked through."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.threads: list[int] = []

    def items(self) -> Any:
        self.threads.append(threading.get_ident())
        return super().items()


async def test_metadata_is_put_into_its_form_once_and_not_on_the_event_loop(world: World) -> None:
    athena = world.agent("athena")
    await world.app.call(athena, CreateMemory(content="x", metadata={"p": {"a": 0}, "z": -1}))
    values = [Watched({"a": 0}) for _ in range(100)]
    requests = tuple(CreateMemory(content="x", metadata={"p": each, "z": z}) for z, each in enumerate(values))
    for each in values:
        each.threads.clear()

    stored = await world.app.call(athena, CreateMemories(memories=requests))

    assert all(each.stored for each in stored.results)
    assert {len(each.threads) for each in values} == {1}
    assert threading.get_ident() not in {thread for each in values for thread in each.threads}


async def test_what_says_the_same_is_found_among_those_that_are_much_to_compare(world: World) -> None:
    metadata = [{f"{name}": 0 for name in range(1200)} | {"z": z} for z in range(24)]
    different = [{"content": "x", "metadata": each} for each in metadata]
    first = await world.app.call_wire(world.agent("athena"), "create_memories", {"memories": different})
    again = await world.app.call_wire(world.agent("athena"), "create_memories", {"memories": different})

    assert all(each["stored"] for each in first["results"])
    assert [each.get("duplicate_of") for each in again["results"]] == [each["memory_id"] for each in first["results"]]


async def test_what_repeats_nothing_any_more_when_it_is_stored_is_found_by_its_words(world: World) -> None:
    athena = world.agent("athena")
    first = await world.app.call(athena, CreateMemory(content="Whistles at dawn.", importance=0.1))
    vectors = world.ollama.vectors

    def overtaken(texts: Sequence[str]) -> list[list[float]]:
        world.ollama.vectors = vectors
        world.change("UPDATE memories_v2 SET importance = 0.9")
        return vectors(texts)

    world.ollama.vectors = overtaken
    batch = (CreateMemory(content="Whistles at dawn.", importance=0.1), CreateMemory(content="Another one."))
    repeated, other = (await world.app.call(athena, CreateMemories(memories=batch))).results

    assert [repeated.stored, repeated.embedding_generated] == [True, False]
    assert [other.stored, other.embedding_generated] == [True, True]
    hits = (await world.app.call(athena, SearchMemories(query="whistles"))).results
    assert {first.memory_id, repeated.memory_id} <= {hit.memory_id for hit in hits}
