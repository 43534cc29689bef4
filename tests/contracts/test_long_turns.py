"""A long turn keeps its place in its session without lending words or borrowing any, and nobody writes it again."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.contracts.builders import EVERYTHING, new
from tests.contracts.steps import get, replace, store
from tests.contracts.stores import Store
from tests.contracts.test_ended_turns import contents, end, said
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.memory import LENT_BYTES, Memory
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

LONG = f"pears {'x' * LENT_BYTES}"
FULL = f"pears {'x' * (LENT_BYTES - 6)}"


async def delete(storage: Storage, memory_id: str) -> None:
    async with storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(memory_id, EVERYTHING))


async def test_a_long_turn_neither_lends_words_nor_borrows_any(opened: Store) -> None:
    texts = ("apples", LONG, "plums", "figs")
    await store(opened.storage, *(new(said(place, text)) for place, text in enumerate(texts)))

    assert await contents(opened, "apples") == ["apples", "plums"]
    assert await contents(opened, "pears") == [LONG]
    assert await contents(opened, "plums") == ["plums", "figs"]


async def test_a_turn_that_is_just_not_long_lends_and_borrows(opened: Store) -> None:
    texts = ("apples", FULL, "plums")
    await store(opened.storage, *(new(said(place, text)) for place, text in enumerate(texts)))

    assert await contents(opened, "apples") == ["apples", FULL, "plums"]
    assert await contents(opened, "pears") == [FULL, "plums"]


async def test_a_turn_that_becomes_long_or_short_takes_its_words_back_or_lends_them(opened: Store) -> None:
    turns = [said(place, text) for place, text in enumerate(("apples", "pears", "plums", "figs"))]
    await store(opened.storage, *map(new, turns))

    await end(opened.storage, turns[1].id, content=LONG, version=2)
    assert await contents(opened, "apples") == ["apples", "plums"]
    assert await contents(opened, "pears") == [LONG]

    await end(opened.storage, turns[1].id, content="melons")
    assert await contents(opened, "apples") == ["apples", "melons", "plums"]
    assert await contents(opened, "melons") == ["melons", "plums", "figs"]
    assert await opened.storage.integrity() == []


async def test_a_long_turn_that_comes_between_others_takes_the_place_of_one_that_lent(opened: Store) -> None:
    await store(opened.storage, *(new(said(place, text)) for place, text in ((1, "apples"), (2, "plums"), (5, "figs"))))
    between = said(3, LONG)
    await store(opened.storage, new(between))
    assert await contents(opened, "apples") == ["apples", "plums"]
    assert await contents(opened, "plums") == ["plums", "figs"]

    await delete(opened.storage, between.id)

    assert await contents(opened, "apples") == ["apples", "plums", "figs"]
    assert await opened.storage.integrity() == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tmws.db"


def run(path: Path, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql, values)
        connection.commit()


async def test_no_entry_of_a_long_turn_is_written_again_because_of_another_turn(path: Path) -> None:
    """An entry is taken apart whole when a word of it is written: 20 ms for 64 KiB, in which nobody else writes."""
    turns = [said(10 * place, f"{LONG} {place}") for place in range(6)]
    successor = said(99, "figs")
    async with open_sqlite(path) as opened:
        await store(opened.storage, *map(new, (*turns, successor)))
        await end(opened.storage, turns[1].id, superseded_by=successor.id, superseded_at=successor.created_at)
        for event in ("INSERT", "UPDATE"):
            refused = f"BEFORE {event} ON memories_fts_content BEGIN SELECT RAISE(ABORT, 'written'); END"
            run(path, f"CREATE TRIGGER no_{event} {refused}")

        await end(opened.storage, turns[2].id, sequence=35)
        await delete(opened.storage, turns[3].id)
        await delete(opened.storage, successor.id)

        assert (await get(opened.storage, turns[1].id)).superseded_by is None


async def test_words_that_long_turns_once_lent_or_borrowed_are_gone_when_a_turn_beside_them_changes(path: Path) -> None:
    turns = [said(place, text) for place, text in enumerate(("apples", LONG, "plums"))]
    async with open_sqlite(path) as opened:
        await store(opened.storage, *map(new, turns))
    run(path, "UPDATE memories_fts SET previous = 'apples' WHERE text = ?", LONG)
    run(path, "UPDATE memories_fts SET previous = ?, before_previous = 'apples' WHERE text = 'plums'", LONG)

    async with open_sqlite(path) as opened:
        assert await contents(opened, "apples") == ["apples", LONG, "plums"]
        assert await contents(opened, "pears") == [LONG, "plums"]
        former: Memory = await get(opened.storage, turns[0].id)
        await replace(opened.storage, former, new(attrs.evolve(former, sequence=-1)))
        assert await contents(opened, "apples") == ["apples", "plums"]
        assert await contents(opened, "pears") == [LONG]
