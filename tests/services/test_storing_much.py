"""Storing much at once beside much that is alike: what is done for it is counted."""

from collections.abc import Collection
from typing import Any

import pytest

from tests.services.conftest import World
from tmws_adapters.postgres.reader import PostgresMemoryReader
from tmws_adapters.sqlite.reader import SqliteMemoryReader
from tmws_core.domain.memory import AccessLevel
from tmws_core.messages.memory import CreateMemories, CreateMemory, UpdateMemory

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
