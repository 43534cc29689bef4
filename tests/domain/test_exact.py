"""Strings that are meant as they stand."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.test_text import BLOWN_UP
from tmws_core.domain.exact import PLAIN, WITHIN, ExactStrings


@pytest.mark.parametrize(
    ("query", "strings"),
    [
        ("What changed in 2.4.7?", {"2.4.7"}),
        ("C#, C++ or .NET?", {"c#", "c++", ".net"}),
        ("ping 10.0.0.17:8080 (twice)", {"10.0.0.17:8080"}),
        ("who is @ana, and what is ana@example.org?", {"@ana", "ana@example.org"}),
        ("the flag --dry-run of src/app.py", {"--dry-run", "src/app.py"}),
        ("paid $50 or 45€", {"$50", "45€"}),
        ("a 🌹 and a ❤\N{VARIATION SELECTOR-16}", {"🌹", "❤"}),
        ('"black holes" and \u201cred dwarfs\u201d', {"black holes", "red dwarfs"}),
        ("版本2.4.7のリリース", {"2.4.7"}),
        ("max_retries on 2024-03-05", {"max_retries", "2024-03-05"}),
        ("Ana's plan for the day: nothing - or so.", set()),
        ("the tag v2.4.7 of https://example.org/a/", {"2.4.7", "https://example.org/a"}),
        ("1,000 of them, or so", {"1,000"}),
        ("", set()),
    ],
)
def test_compounds_symbols_and_what_is_quoted_are_exact_strings(query: str, strings: set[str]) -> None:
    assert {each.text for each in ExactStrings.of(query).strings} == strings


@pytest.mark.parametrize(
    ("query", "content", "share"),
    [
        ("2.4.7", "Release 2.4.7.", 1),
        ("2.4.7", "tagged v2.4.7", 1),
        ("2.4.7", "7.4.2, 2.7.4", 0),
        ("2.4.7", "dev2.4.7", 0),
        ("2.4.7", "12.4.7, 2.4.71", 0),
        ("2.4.7", "1.2.4.7", WITHIN),
        ("2.4.7", "1.2.4.7 and 2.4.7", 1),
        ("C#", "we write c#", 1),
        ("C#", "we write C++", 0),
        ("C++", "C++17", 1),
        (".NET", "ASP.NET", 1),
        ("€45", "costs €450", 0),
        ("app.py", "in src/app.py", WITHIN),
        ("self-care", "self-care", PLAIN),
        ("self-care", "care of the self", 0),
        ("❤\N{VARIATION SELECTOR-16}", "❤", 1),
        ("2.4.7 or 2.4.8", "2.4.8", 0.5),
        ("no strings", "no strings", 0),
    ],
)
def test_a_text_has_a_string_only_as_it_stands(query: str, content: str, share: float) -> None:
    assert ExactStrings.of(query).share(content) == share


@pytest.mark.parametrize(
    ("query", "only"),
    [
        ("2.4.7", True),
        ("C# 🌹", True),
        ("see 2.4.7", False),
        ("self-care", False),
        ("max_retries", False),
        ('"red dwarfs"', False),
    ],
)
def test_a_query_of_nothing_else_is_told_from_one_in_words(query: str, *, only: bool) -> None:
    assert ExactStrings.of(query).only is only


def test_the_strings_are_a_query_of_their_own_as_they_came() -> None:
    assert ExactStrings.of('see 2.4.8 or v2.4.7, not "red dwarfs"').text == "red dwarfs 2.4.8 2.4.7"


def test_words_with_hyphens_are_not_worth_looking_through_more_texts() -> None:
    assert not ExactStrings.of("self-care and/or rest").demand
    assert ExactStrings.of("self-care since 2.4.7").demand


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_query_is_held_against_any_text(query: str, content: str) -> None:
    assert 0 <= ExactStrings.of(query).share(content) <= 1


@pytest.mark.parametrize("sign", ["_", "_-", "a_", "-", "."])
def test_a_name_of_many_words_is_read_in_one_way(sign: str) -> None:
    before = time.thread_time()
    for count in (24, 90):
        assert ExactStrings.of(f"a{sign * count}1").only
    assert time.thread_time() - before < BLOWN_UP
