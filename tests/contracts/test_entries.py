"""Words of the lexical index that are not those of the texts are told, and taken from the texts again."""

import sqlite3
from contextlib import closing
from typing import Any

import attrs
import pytest

from tests.contracts.builders import memory, new
from tests.contracts.steps import store
from tests.contracts.stores import Store
from tests.contracts.test_ended_turns import contents, said
from tests.contracts.test_long_turns import delete
from tests.servers.postgres import behind
from tmws_adapters.postgres import entries as of_postgres
from tmws_adapters.sqlite import entries as of_sqlite
from tmws_core.domain.text import Lexical, lexical_document

pytestmark = pytest.mark.anyio

TURNS = ("apples", "pears", "plums")

MIXED = "memories whose words are not those of their texts"

WRONG = {
    "a word of another text": (
        "UPDATE memories_fts SET text = 'melons' WHERE rowid = 1",
        """
        UPDATE memory_words SET words = '{melon}' WHERE document = 1;
        UPDATE memory_postings SET word = 'melon' WHERE document = 1 AND word = 'appl'
        """,
        MIXED,
    ),
    "another word that leads to it": (
        "UPDATE memories_fts_content SET c0 = 'melons' WHERE id = 1",
        "UPDATE memory_postings SET word = 'melon' WHERE document = 1 AND word = 'appl'",
        MIXED,
    ),
    "no word": (
        "UPDATE memories_fts SET text = '' WHERE rowid = 1",
        """
        UPDATE memory_words SET words = '{}', counts = '{}', tokens = 0 WHERE document = 1;
        DELETE FROM memory_postings WHERE document = 1 AND word = 'appl'
        """,
        MIXED,
    ),
    "words of turns where it is none": (
        "UPDATE memories_fts SET previous = 'melons' WHERE rowid = 4",
        """
        UPDATE memory_words SET words = words || '{melon}', counts = counts || 0, tokens = 2 WHERE document = 4;
        UPDATE memory_postings SET tokens = 2 WHERE document = 4;
        INSERT INTO memory_postings VALUES (4, 2, 2, 'melon')
        """,
        MIXED,
    ),
    "other readers": (
        "UPDATE memories_fts SET readers = 'melons' WHERE rowid = 1",
        """
        UPDATE memory_words SET readers = '{agent:eve}' WHERE document = 1;
        DELETE FROM memory_postings WHERE document = 1 AND word LIKE '%:%';
        INSERT INTO memory_postings VALUES (1, 0, 1, 'agent:eve')
        """,
        MIXED,
    ),
    "no entry": (
        "DELETE FROM memories_fts WHERE rowid = 1",
        "DELETE FROM memory_words WHERE document = 1",
        "memories without a lexical entry",
    ),
    "an entry of no memory": (
        "INSERT INTO memories_fts (rowid, text) VALUES (99, 'melons')",
        """
        INSERT INTO memory_words VALUES (99, '{melon}', '{1}', 1, '{}');
        INSERT INTO memory_postings VALUES (99, 6, 1, 'melon')
        """,
        "lexical entries without a memory",
    ),
    "words that no entry has": (
        """
        UPDATE memories_fts SET text = 'apples melons' WHERE rowid = 1;
        UPDATE memories_fts_content SET c0 = 'apples' WHERE id = 1
        """,
        "INSERT INTO memory_postings VALUES (1, 6, 1, 'melon')",
        "words",
    ),
}
"""What is wrong with an entry, how it becomes so in SQLite and in PostgreSQL, and what is said of it."""


async def fill(opened: Store) -> None:
    """Store turns of a session, and a memory that stands alone."""
    await store(
        opened.storage, *(new(said(place, text)) for place, text in enumerate(TURNS)), new(memory(content="figs"))
    )


def change(place: str, in_sqlite: str, in_postgres: str) -> None:
    if place.startswith("postgresql://"):
        with behind(place) as server:
            for statement in in_postgres.split(";"):
                server.execute(statement.encode())
    else:
        with closing(sqlite3.connect(place)) as file, file:
            file.executescript(in_sqlite)


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_the_index_holds_of_a_text_and_should_not_is_told_and_mended(
    opened: Store, place: str, wrong: str
) -> None:
    in_sqlite, in_postgres, problem = WRONG[wrong]
    await fill(opened)
    assert await opened.storage.integrity() == []
    change(place, in_sqlite, in_postgres)

    flaws = await opened.storage.integrity()
    await opened.storage.reindex()

    assert flaws[0].derived
    assert any(problem in each.problem for each in flaws)
    assert await opened.storage.integrity() == []
    assert await contents(opened, "apples") == ["apples", "pears", "plums"]
    assert await contents(opened, "melons") == []
    assert await contents(opened, "figs") == ["figs"]


async def test_turns_lose_the_words_that_a_wrong_entry_has_lent_them(opened: Store) -> None:
    turns = [new(said(place, text)) for place, text in enumerate(TURNS)]
    await store(opened.storage, attrs.evolve(turns[0], lexical=Lexical("melons")), *turns[1:])
    assert await contents(opened, "melons") == ["apples", "pears", "plums"]

    done = await opened.storage.reindex()

    assert done.written == 1
    assert await contents(opened, "melons") == []
    assert await contents(opened, "apples") == ["apples", "pears", "plums"]
    assert await opened.storage.integrity() == []


async def test_nothing_is_written_where_everything_is_right(opened: Store) -> None:
    await fill(opened)
    changes = await opened.storage.changes()

    done = await opened.storage.reindex()

    assert (done.written, done.removed) == (0, 0)
    assert await opened.storage.changes() == changes


async def test_what_a_version_before_has_indexed_in_its_way_is_right(opened: Store) -> None:
    text = "Züge nach Łódź"
    await store(
        opened.storage, attrs.evolve(new(memory(content=text)), lexical=Lexical(lexical_document(text, plain=False)))
    )

    assert await opened.storage.integrity() == []
    assert (await opened.storage.reindex()).written == 0


async def test_a_memory_that_is_deleted_meanwhile_is_passed_over(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = memory(content="apples"), memory(content="pears")
    await store(opened.storage, *(attrs.evolve(new(each), lexical=Lexical("melons")) for each in (first, second)))
    for module in (of_postgres, of_sqlite):
        original = module._batch  # noqa: SLF001 - the moment between reading and writing is nobody else's

        async def read(connections: Any, last: int, original: Any = original) -> Any:
            batch = await original(connections, last)
            if not last:
                await delete(opened.storage, first.id)
            return batch

        monkeypatch.setattr(module, "_batch", read)

    done = await opened.storage.reindex()

    assert done.written == 1
    assert await contents(opened, "pears") == ["pears"]
    monkeypatch.undo()
    assert await opened.storage.integrity() == []


async def test_memories_of_several_batches_are_compared(opened: Store) -> None:
    texts = [f"word{number}" for number in range(201)]
    stored = [new(memory(content=text)) for text in texts]
    await store(opened.storage, *stored[:-1], attrs.evolve(stored[-1], lexical=Lexical("melons")))
    read: list[int] = []

    (flaw,) = await opened.storage.integrity(read.append)

    assert flaw.problem == f"1 {MIXED}, {stored[-1].memory.id} the first"
    assert read == [100, 200, 201]
