"""When two texts say the same."""

# ruff: noqa: RUF001 - characters that look alike are what this is about

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.domain.sameness import said

words = st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The deploy is on Friday.", "the  deploy\nis on FRIDAY"),
        ("Deploy: on Friday (maybe)!", "deploy, on friday - maybe"),
        ("“Friday” – it’s fixed…", '"Friday" - it\'s fixed.'),
        ("**Deploy** the `max_retries` [key]", "deploy the max_retries key"),
        ("# Deploy keys", "Deploy keys"),
        ("a well-known key", "a well known key"),
        ("東京は晴れです。", "東京は晴れです！"),
        ("「東京」は、晴れ", "東京 は 晴れ"),
        ("ＴＯＫＹＯ１２", "tokyo12"),
        ("It costs 1.5 %.", "it costs 1.5 %"),
        ("cafe\u0301", "caf\u00e9"),
        ("soft\u00adware", "software"),
    ],
)
def test_case_white_space_and_punctuation_do_not_count(first: str, second: str) -> None:
    assert said(first) == said(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Alice reports to Bob", "Bob reports to Alice"),
        ("The door must stay open", "The door must not stay open"),
        ("The door can stay open", "The door can't stay open"),
        ("We will ship it to auditors by email every month", "We will not ship it to auditors by email every month"),
        ("The backup runs at 02:15", "The backup runs at 03:45"),
        ("It takes 500 ms", "It takes 50 ms"),
        ("It takes 5 ms", "It takes 5 s"),
        ("It draws 5 mW", "It draws 5 MW"),
        ("It moves 5Mb", "It moves 5MB"),
        ("Keep it at -5", "Keep it at 5"),
        ("Keep it at −5", "Keep it at 5"),
        ("Keep it at –5", "Keep it at 5"),
        ("Keep it at +5", "Keep it at 5"),
        ("A loss of -$5", "A loss of $5"),
        ("It costs $5", "It costs €5"),
        ("It costs 1.5", "It costs 15"),
        ("It costs 1.5", "It costs 1 5"),
        ("It costs .5", "It costs 5"),
        ("It costs 1,500", "It costs 1.500"),
        ("版本是１．５", "版本是１５"),
        ("温度是－５度", "温度是５度"),
        ("温度是-5度", "温度是 5度"),
        ("It grew by 5 %", "It grew by 5"),
        ("It is 10²", "It is 102"),
        ("It is 5'", 'It is 5"'),
        ("Write it in C", "Write it in C++"),
        ("Write it in C#", "Write it in C++"),
        ("Write it in C#.", "Write it in C."),
        ("Write it in .NET", "Write it in NET"),
        ("Her mark is A*", "Her mark is A"),
        ("His blood is O-", "His blood is O"),
        ("if (a != b)", "if (a = b)"),
        ("if !enabled", "if enabled"),
        ("a < b", "a > b"),
        ("a/b", "a b"),
        ("We release it on Friday?", "We release it on Friday."),
        ("[x] deploy", "[ ] deploy"),
        ("deploy ✓", "deploy ✗"),
        ("東京は晴れです", "東京は晴れではない"),
        ("ประตูเปิด", "ประตูไม่เปิด"),
        ("in Maßen", "in Massen"),
    ],
)
def test_what_changes_the_meaning_counts(first: str, second: str) -> None:
    assert said(first) != said(second)


@given(words, st.data())
def test_the_order_of_words_counts(order: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(order))
    assert (said(" ".join(order)) == said(" ".join(other))) == (order == other)


@given(
    words, st.lists(st.sampled_from([" ", "\n", ", ", ". ", "; ", " - ", "、", "…", "!  "]), min_size=12, max_size=12)
)
def test_what_parts_words_does_not_count(order: list[str], marks: list[str]) -> None:
    parted = "".join(word + mark for word, mark in zip(order, marks, strict=False))
    assert said(parted.upper()) == " ".join(order)


@given(st.text(max_size=60))
def test_what_any_text_says_has_no_case(text: str) -> None:
    assert said(text) == said(text).lower()


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    for text in ("-." * 30_000, "5" * 60_000, "5.-!" * 15_000, "a#*-" * 15_000, " " * 60_000):
        said(text)
