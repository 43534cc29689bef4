"""The words of a text in PostgreSQL are those that FTS5 takes from it, so that both stores find the same."""

import sqlite3
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.postgres import PostgresServer
from tmws_adapters.bootstrap import open_app
from tmws_adapters.postgres import writer
from tmws_adapters.postgres.words import LONGEST, count_words, stem, stems, words_of
from tmws_adapters.settings import load_settings
from tmws_core.domain.text import STOP_WORDS, lexical_document
from tmws_core.messages.memory import CreateMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories, SearchMode

ROOT = Path(__file__).parents[2]
TOKENIZE = "porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
"""As in the first revision of the schema."""


def by_fts5(text: str) -> list[str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f'CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = "{TOKENIZE}")')
        connection.execute("INSERT INTO texts VALUES (?)", (text,))
        connection.execute("CREATE VIRTUAL TABLE words USING fts5vocab (texts, instance)")
        return [term for (term,) in connection.execute('SELECT term FROM words ORDER BY "offset"')]


@pytest.mark.parametrize(
    "text",
    [
        "He was running; they ran, runners run. Relational conditional rationalities!",
        "The cafés of Zürich, naïve façades, Ångström and Škoda, smörgåsbord",
        "parseHTTPResponse over HTTP/2 in error_500.txt, v3.14",
        "東京都の天気 と 서울의 날씨 and ภาษาไทย",
        "हिन्दी में लिखा हुआ वाक्य",
        "Привет, мир! technologies, apologies and analogy, possibly horribly",
        " ".join(sorted(STOP_WORDS)),
    ],
)
def test_words_of_many_languages_are_those_of_fts5(text: str) -> None:
    document = lexical_document(text)

    assert words_of(document) == by_fts5(document)


def test_words_of_all_our_documentation_are_those_of_fts5() -> None:
    pages = [path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]]
    document = lexical_document("\n".join(pages))

    assert set(words_of(document)) == set(by_fts5(document))


def test_letters_with_a_case_or_marks_are_those_of_fts5() -> None:
    letters = [
        each
        for each in map(chr, [*range(0xAC00), *range(0xFB00, 0x20000)])
        if each.lower() != each or unicodedata.normalize("NFD", each) != each or unicodedata.combining(each)
    ]
    document = lexical_document(" ".join(letters))

    assert set(by_fts5(document)) - set(words_of(document)) == set()


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(former)


@pytest.mark.usefixtures("interrupted")
def test_texts_in_several_threads_keep_their_words_apart() -> None:
    texts = [" ".join(f"{name}{number:x}ational" for number in range(500)) for name in ("ada", "eve", "bob", "kim")]
    stem.cache_clear()
    with ThreadPoolExecutor(len(texts)) as threads:
        together = list(threads.map(words_of, texts))
    stem.cache_clear()

    assert together == [words_of(text) for text in texts]


def test_a_word_in_another_form_has_the_same_stem() -> None:
    assert stems(["running", "runs", "run"]) == ["run"]


@given(st.text(max_size=300))
def test_no_word_is_too_long_for_the_index(text: str) -> None:
    assert all(0 < len(word.encode()) <= LONGEST for word in words_of(text))


@pytest.mark.anyio
async def test_words_are_counted_before_the_unit_that_writes_them_begins(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[str] = []

    async def noted(texts: Sequence[str]) -> list[Counter[str]]:
        inside.extend(texts)
        return await count_words(texts)

    monkeypatch.setattr(writer, "count_words", noted)
    with postgres.database() as url:
        names = {"TMWS_HOME": str(tmp_path), "TMWS_DATABASE_URL": url, "TMWS_ONNX_MODEL_DIR": "missing"}
        settings = load_settings(names, dotenv=None)
        caller = settings.operator()
        async with open_app(settings) as app:
            stored = await app.call(caller, CreateMemory(content="The gate opens at nine."))
            await app.call(caller, UpdateMemory(memory_id=stored.memory_id, content="The doors open at ten."))
            found = await app.call(caller, SearchMemories(query="door", mode=SearchMode.LEXICAL))

    assert inside == []
    assert [each.content for each in found.results] == ["The doors open at ten."]
