"""Reading texts: what is indexed of them, and in what time."""

import time
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pathological import texts
from tmws_adapters.postgres.words import counts_of
from tmws_core.domain import text
from tmws_core.domain.dates import period_in
from tmws_core.domain.dialogue import Question, speaker_of
from tmws_core.domain.exact import ExactStrings
from tmws_core.domain.memory import CONTENT_BYTES, content_hash
from tmws_core.domain.sameness import said
from tmws_core.domain.text import MARKS, lexical_document, query_terms

BLOWN_UP = 2.0
"""Seconds of CPU that twice the longest text takes only if they grow with its square."""

READINGS: dict[str, Callable[[str], object]] = {
    "words": query_terms,
    "stems": lambda text: counts_of(lexical_document(text)),
    "speaker": speaker_of,
    "question": lambda text: Question.of(f"when {text[:-5]}").nudge(text),
    "negation": lambda text: Question.of(f"not {text[:100]}").nudge(text),
    "strings": lambda text: ExactStrings.of(f"2.4.7 {text}").share(text),
    "times": lambda text: period_in(text, datetime(2024, 1, 1, tzinfo=UTC)),
    "repetition": content_hash,
    "sameness": said,
}

TEXTS = texts(2 * CONTENT_BYTES)


@pytest.mark.parametrize("name", TEXTS)
def test_reading_a_text_takes_time_that_grows_with_its_length(name: str) -> None:
    for reading, read in READINGS.items():
        before = time.thread_time()
        read(TEXTS[name])
        assert time.thread_time() - before < BLOWN_UP, reading


def test_of_the_marks_on_a_letter_as_many_are_indexed_as_a_language_writes() -> None:
    enough = lexical_document("a" + "\u0316\u0301" * (MARKS // 2))
    assert lexical_document("a" + "\u0316\u0301" * 10_000) == enough
    assert lexical_document("a" + "\u0316\u200d\u0301" * 10_000) == enough
    vietnamese = "Vie\u0323\u0302t Nam \u2014 2\u20e3"
    assert lexical_document(vietnamese) == unicodedata.normalize("NFKC", vietnamese)


def test_a_letter_with_endless_marks_is_found_by_what_is_written_like_it() -> None:
    assert query_terms("a" + "\u0316\u0301" * 500) == query_terms("a" + "\u0316\u0301" * 20_000)


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("myVar", "my Var"),
        ("parseHTTPResponse", "parse HTTP Response"),
        ("myVar2", "my Var2"),
        ("my_Var", None),
        ("myVar\u00e9", None),
        ("plain", None),
        ("9f86d081884c7d65", "9f86d08"),
        ("9F86D081", "9F86D08"),
        ("9f86d08", None),
        ("1234567890", None),
        ("defaced-facade", None),
        ("9f86d081g", None),
    ],
)
def test_a_compound_of_ascii_is_followed_by_its_parts(word: str, parts: str | None) -> None:
    assert lexical_document(word) == (word if parts is None else f"{word} {parts}")


ALPHABET = "a1\uac00\u1100\u1161\u11a8\u314f\uffc2\uff76\uff9e\u0301\u0316\u0f73\ufdfa\u3316\u0e33\u212b"


@given(st.text(ALPHABET, max_size=40), st.integers(1, 5))
def test_a_text_is_normalised_in_pieces_as_it_is_whole(content: str, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_STEP", 10**6)
        whole = lexical_document(content)
        patch.setattr(text, "_STEP", step)
        assert lexical_document(content) == whole


def test_what_stands_alone_joins_nothing_before_it() -> None:
    characters = [*map(chr, range(0x20000)), *map(chr, range(0x2F800, 0x2FA20))]
    second = {chr(int(parts[1], 16)) for parts in map(_composed_of, characters) if len(parts) == 2}
    first = {each: unicodedata.normalize("NFKD", each)[0] for each in characters if text.stands_alone(each)}
    joining = [each for each, begin in first.items() if begin in second or unicodedata.combining(begin)]
    syllables = [each for each, begin in first.items() if "\u1160" <= begin <= "\u11ff"]
    assert joining + syllables == []


def _composed_of(character: str) -> list[str]:
    found = unicodedata.decomposition(character)
    return [] if found.startswith("<") else found.split()
