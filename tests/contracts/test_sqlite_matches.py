"""FTS5's index read as it stands says of words what its scores say."""

import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import anyio
import pytest

from tests.contracts.builders import memory, new
from tests.contracts.test_lexical import search
from tmws_adapters.sqlite import learnt, open_sqlite
from tmws_adapters.sqlite.connections import Opener
from tmws_adapters.sqlite.learnt import Posting
from tmws_adapters.sqlite.matches import Matches
from tmws_adapters.sqlite.opening import BUSY_TIMEOUT
from tmws_adapters.sqlite.scopes import Members
from tmws_adapters.sqlite.tokens import Tokens

pytestmark = pytest.mark.anyio

WORDS = ("running", "apples", "caf\u00e9", "\u6771\u4eac", "500", "zebra")
COUNT = 300


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file with the turns of a conversation, some of whose words are said again and again."""
    path, random = tmp_path / "tmws.db", Random(7)
    said = [" ".join(random.choices(WORDS, k=random.randrange(1, 40))) for _ in range(COUNT)]

    async def fill() -> None:
        async with open_sqlite(path) as store, store.storage.write() as unit:
            turns = (memory(content=content, session_id="s", sequence=place) for place, content in enumerate(said))
            await unit.changes.add([new(each) for each in turns])

    anyio.run(fill)
    with closing(Opener(path=path, busy_timeout=BUSY_TIMEOUT, synchronous="NORMAL").reader()) as reader:
        yield reader


def by_document(posting: Posting | None) -> dict[int, tuple[int, int]]:
    assert posting is not None
    documents, frequencies, tokens = posting
    assert len(set(documents)) == len(documents)
    return {document: each for document, *each in zip(documents, frequencies, tokens, strict=True)}  # type: ignore[misc]


@pytest.mark.parametrize("share", [1, 2, 30], ids=["everything", "a half", "few"])
def test_entries_and_scores_say_the_same_of_each_word(connection: sqlite3.Connection, share: int) -> None:
    marks = bytes(document > 0 and document % share == 0 for document in range(COUNT + 1))
    with closing(Tokens()) as tokens:
        known = tokens.of(connection, WORDS)

    def matches() -> Matches:
        return Matches(connection, Members(array("q"), None, marks, sum(marks)), known, ())

    for word in WORDS:
        read, scored = matches().read(word, 10**6), matches().scored(word, 0)
        assert by_document(read) == by_document(scored)


def test_words_have_the_tokens_that_the_index_has(connection: sqlite3.Connection) -> None:
    with closing(Tokens()) as tokens:
        found = tokens.of(connection, ["running", "caf\u00e9", "a\u20ddb", "("])
        again = tokens.of(connection, ["caf\u00e9", "apples"])

    assert found == {"running": "run", "caf\u00e9": "cafe", "a\u20ddb": "", "(": ""}
    assert again == {"caf\u00e9": "cafe", "apples": "appl"}


async def test_little_is_kept_of_words_and_the_answers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learnt, "ENTRIES", 25)
    async with open_sqlite(tmp_path / "tmws.db") as store:
        async with store.storage.write() as unit:
            await unit.changes.add([new(memory(content=f"{word} stored")) for word in WORDS])

        for _ in range(2):
            assert [await search(store, word) for word in WORDS] == [[f"{word} stored"] for word in WORDS]
