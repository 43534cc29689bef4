"""Excerpts: what an answer shows of long texts."""

import time
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pathological import texts
from tmws_core.domain.excerpt import ELLIPSIS, Excerpt, excerpt, excerpts, range_end, shares
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.domain.text import query_terms

BLOWN_UP = 2.0
"""Seconds of CPU that the longest text takes only if they grow with its square."""

TEXTS = texts(CONTENT_BYTES)

FILLER = "The weather in the valley stays mild. "

SHOWN = "\u2026"

PLACES = 50_000
"""Places of words that are looked for in the texts of one answer at most."""


def about(query: str, *parts: str, size: int = 120) -> str:
    [shown] = excerpts(["".join(parts)], size, query)
    return shown.text


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("When is the dentist appointment?", "The dentist appointment is on Tuesday."),
        ("Which appointments are there?", "The dentist's appointment is on Tuesday."),
        ("who was running", "The baker runs home."),
        ("resume", "Her R\u00e9sum\u00e9 came late."),
        ("Zu\u0308rich", "She moved to Z\u00fcrich."),
        ("Z\u00fcrich", "She moved to Zu\u0308rich."),
        ("retry", "Set maxRetryCount to 5."),
        (
            "\u6b6f\u533b\u8005\u306e\u4e88\u7d04\u306f",
            "\u6b6f\u533b\u8005\u306e\u4e88\u7d04\u306f\u706b\u66dc\u3067\u3059\u3002",
        ),
        ("\uff26\uff35\uff2c\uff2c width", "It is the full width."),
        ("port 8443", "It listens on 8443 now."),
        ("version 2.4.7", "Version 2.4.7 runs. 7.4.2 does not."),
        ("Is C++ used?", "C++ is used, C is not."),
        ("\U0001f980", "A \U0001f980 walks."),
        ("lodz", "Trams of \u0141\xf3d\u017a run."),
    ],
)
def test_an_excerpt_is_around_the_words_of_the_query_in_any_form(query: str, sentence: str) -> None:
    assert sentence in about(query, FILLER * 500, sentence, " ", FILLER * 500)


def test_an_excerpt_is_where_the_rarest_words_are_near_one_another() -> None:
    parts = ("The dentist called. ", FILLER * 99, "An appointment at noon. ", FILLER * 99, "A dentist appointment. ")
    assert "A dentist appointment." in about("weather valley dentist appointment", *parts, FILLER * 99)
    shown = about("weather dentist", "A dentist called. ", "Nobody else did. " * 20, FILLER * 99, "End.")
    assert shown.startswith("A dentist called.")
    assert "called" in about("dentist", FILLER * 9, "A dentist called. ", FILLER * 9, "A dentist wrote. ")


def test_a_number_is_not_taken_for_the_beginning_of_another() -> None:
    assert "Port 80 is open." in about("80", "8080 " * 99, "Port 80 is open. ", "8081 " * 99)


def test_without_a_word_of_the_query_it_is_the_beginning() -> None:
    assert excerpt(FILLER * 99, 60, query_terms("dentist")) == Excerpt(f"{(FILLER * 2)[:52].strip()}{SHOWN}", 0)


def test_a_text_that_has_room_is_whole_and_one_without_any_an_ellipsis() -> None:
    assert excerpt(FILLER, len(FILLER)) == Excerpt(FILLER)
    assert excerpt(FILLER, 0) == excerpt(FILLER, 6) == Excerpt(ELLIPSIS, 0)


def test_an_excerpt_parts_no_word_and_nothing_that_is_read_as_one() -> None:
    words = (FILLER + "It is on Tuesday. ").split()
    for size in range(90, 120):
        shown = about("Tuesday", FILLER * 9, "It is on Tuesday. ", FILLER * 9, size=size)
        assert shown[0] == shown[-1] == SHOWN
        assert all(word in words for word in shown[1:-1].split())
    family, flag, letter = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "e\u0301\u0316"
    for whole in (family, flag, letter, "\U0001f44d\U0001f3fd"):
        for size, before in product(range(30, 60), ("", "a")):
            text = excerpt(before + whole * 500, size).text.removesuffix(SHOWN)
            assert text == before + whole * (len(text) // len(whole))


def test_short_texts_are_whole_and_long_ones_share_what_is_left() -> None:
    assert shares([100, 50, 5000, 60000], 3000) == [100, 50, 1425, 1425]
    assert shares([60000] * 4, 1000, 2) == [400, 200, 200, 200]
    assert shares([100, 60000], 1000, 2) == [100, 900]
    assert shares([], 1000) == []


@given(
    contents=st.lists(st.text("ab \n\u0301\u6f22\u200d\U0001f600", max_size=300), max_size=8),
    room=st.integers(0, 2000),
    query=st.none() | st.text("ab \u6f22", min_size=1, max_size=9),
)
def test_excerpts_keep_to_their_room_and_say_where_they_begin(
    contents: list[str], room: int, query: str | None
) -> None:
    made = excerpts(contents, room, query)
    assert sum(len(each.text.encode()) for each in made if each.text != ELLIPSIS) <= room
    for content, each in zip(contents, made, strict=True):
        if each.offset is None:
            assert each.text == content
        else:
            assert content[each.offset :].lstrip().startswith(each.text.strip(ELLIPSIS))


@given(text=st.text("ab \n\u0301\u6f22\u200d\U0001f600", max_size=300), size=st.integers(1, 100))
def test_ranges_one_behind_the_other_are_the_whole_text(text: str, size: int) -> None:
    parts, start = [], 0
    while start < len(text):
        end = range_end(text, start, size)
        assert end > start
        parts.append(text[start:end])
        start = end
    assert "".join(parts) == text
    assert all(len(part.encode()) <= size or len(part) == 1 for part in parts)


@pytest.mark.parametrize("name", TEXTS)
def test_an_excerpt_of_any_text_takes_time_that_grows_with_its_length(name: str) -> None:
    text = TEXTS[name]
    before = time.thread_time()
    shown = excerpts([text], 300, text)
    assert time.thread_time() - before < BLOWN_UP
    assert len(shown[0].text.encode()) <= 300


def test_an_answer_looks_at_so_many_places_whatever_its_texts_are_and_begins_what_is_behind() -> None:
    sought: list[str] = []

    class Counted(str):
        __slots__ = ()

        def lower(self) -> "Counted":
            return self

        def find(self, stem: str, *bounds: Any) -> int:
            sought.append(stem)
            return super().find(stem, *bounds)

    terms = ["".join(pair) for pair in product("bcdfghjk", repeat=2)]
    inside = "".join(f"a{term}" for term in terms)
    contents = [Counted(" ".join([*[inside] * 9, *terms, *[inside] * 220])) for _ in range(20)]
    first, *_, last = excerpts(contents, 6000, " ".join(terms))
    assert " ".join(terms) in first.text
    assert last.offset == 0
    assert len(terms) < len(sought) <= PLACES
