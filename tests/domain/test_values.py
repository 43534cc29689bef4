"""Ids, cursors, ranking and text."""

import string
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.domain import cursor
from tmws_core.domain.ids import uuid7
from tmws_core.domain.ranking import Hit, fuse
from tmws_core.domain.text import MAX_QUERY_TERMS, lexical_document, passage, query_terms
from tmws_core.errors import InvalidField

texts = st.text(max_size=40)

KEY = b"a key of 32 bytes, or of any oth"


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_an_id_is_a_uuid_of_version_7_that_starts_with_its_time(milliseconds: int, random: int) -> None:
    value = uuid7(milliseconds, random)
    assert value[14] == "7"
    assert value[19] in "89ab"
    assert int(value.replace("-", "")[:12], 16) == milliseconds


@given(
    st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1)),
    st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1)),
)
def test_ids_sort_by_time_then_by_their_random_part(first: tuple[int, int], second: tuple[int, int]) -> None:
    assert (uuid7(*first) < uuid7(*second)) == (first < second)


@given(texts, texts)
def test_a_cursor_leads_back_to_its_position(request_: str, position: str) -> None:
    assert cursor.decode([KEY], request_, cursor.encode(KEY, request_, position)) == position


@given(texts, texts, texts)
def test_a_cursor_of_another_request_is_refused(request_: str, other: str, position: str) -> None:
    if request_ != other:
        with pytest.raises(InvalidField, match="cursor"):
            cursor.decode([KEY], other, cursor.encode(KEY, request_, position))


@given(texts, texts, st.data())
def test_a_tampered_cursor_is_refused(request_: str, position: str, data: st.DataObject) -> None:
    sealed = cursor.encode(KEY, request_, position)
    index = data.draw(st.integers(0, len(sealed) - 2))
    letter = data.draw(st.sampled_from(sorted(set(string.ascii_letters) - {sealed[index]})))
    for tampered in (sealed[:index] + letter + sealed[index + 1 :], f"{sealed[:index]} {sealed[index:]}"):
        with pytest.raises(InvalidField, match="cursor"):
            cursor.decode([KEY], request_, tampered)


def test_a_position_that_is_to_be_a_number_is_one() -> None:
    assert cursor.number("12") == 12
    for position in ("", "-1", "a", "\N{SUPERSCRIPT TWO}"):
        with pytest.raises(InvalidField, match="cursor"):
            cursor.number(position)


@given(texts, texts)
def test_a_cursor_sealed_with_another_key_is_refused(request_: str, position: str) -> None:
    sealed = cursor.encode(b"another key", request_, position)
    assert cursor.decode([KEY, b"another key"], request_, sealed) == position
    with pytest.raises(InvalidField, match="cursor"):
        cursor.decode([KEY], request_, sealed)


@given(texts)
def test_noise_is_no_cursor(noise: str) -> None:
    with pytest.raises(InvalidField, match="cursor"):
        cursor.decode([KEY], "request", noise)


def test_a_document_that_both_lists_hold_comes_before_one_that_a_single_list_puts_first() -> None:
    fused = fuse([Hit(1, 9.0), Hit(2, 8.0)], [Hit(3, 0.9), Hit(2, 0.8), Hit(4, 0.1)])
    assert [hit.document for hit in fused] == [2, 1, 3, 4]
    assert fused[0].lexical_rank == 2
    assert fused[0].similarity == 0.8


def test_first_in_every_list_scores_one() -> None:
    assert fuse([Hit(7, 3.0), Hit(8, 1.0)], [Hit(7, 0.5), Hit(8, 0.1)])[0].score == pytest.approx(1)
    assert fuse([Hit(7, 3.0)], [])[0].score == 1
    assert fuse([], [Hit(7, 0.5)])[0].score == 1


def test_a_list_that_is_sure_outweighs_one_that_is_not() -> None:
    sure_words = fuse([Hit(1, 9.0), Hit(2, 1.0)], [Hit(2, 0.42), Hit(1, 0.41), Hit(3, 0.3)])
    assert sure_words[0].document == 1


def test_meaning_counts_for_nothing_in_a_script_that_the_model_cannot_read() -> None:
    fused = fuse([Hit(1, 2.0), Hit(2, 1.9)], [Hit(2, 0.9), Hit(3, 0.1)], familiarity=0.0)
    assert [hit.document for hit in fused[:2]] == [1, 2]
    assert fuse([Hit(1, 2.0), Hit(2, 1.9)], [Hit(2, 0.9), Hit(3, 0.1)], familiarity=1.0)[0].document == 2


def test_meaning_decides_alone_where_no_word_matches_whatever_the_script() -> None:
    assert [hit.document for hit in fuse([], [Hit(5, 0.9), Hit(6, 0.2)], familiarity=0.0)] == [5, 6]


falling = st.lists(st.floats(0.001, 10), max_size=20).map(lambda scores: sorted(scores, reverse=True))


def _listed(data: st.DataObject, scores: list[float]) -> list[Hit]:
    documents = data.draw(st.permutations(range(1, 31)))
    return [Hit(document, score) for document, score in zip(documents, scores, strict=False)]


@given(st.data(), falling, falling, st.floats(0, 1))
def test_fusion_keeps_every_document_once_and_sorts_by_score(
    data: st.DataObject, lexical: list[float], semantic: list[float], familiarity: float
) -> None:
    words, meaning = _listed(data, lexical), _listed(data, semantic)
    fused = fuse(words, meaning, familiarity)
    assert sorted(hit.document for hit in fused) == sorted({hit.document for hit in (*words, *meaning)})
    assert [hit.score for hit in fused] == sorted((hit.score for hit in fused), reverse=True)
    assert all(-1e-9 <= hit.score <= 1 + 1e-9 for hit in fused)


@given(st.text())
def test_query_terms_are_words_that_hold_no_syntax(query: str) -> None:
    terms = query_terms(query)
    assert len(terms) <= MAX_QUERY_TERMS
    assert all(unicodedata.category(character)[0] in "LNM" for term in terms for character in term)


def test_stop_words_are_dropped_unless_there_is_nothing_else() -> None:
    assert query_terms("What did the cat do?") == ["cat"]
    assert query_terms("To be, or not to be") == ["to", "be", "or", "not"]


def test_a_word_of_two_characters_in_japanese_is_a_term_of_its_document() -> None:
    document = lexical_document("東京都の天気は晴れです").split()
    assert set(query_terms("天気")) <= set(document)
    assert set(query_terms("東京")) <= set(document)


@pytest.mark.parametrize(
    ("content", "query"),
    [
        ("Set max_retry_count in a/b.py.", "max_retry_count"),
        ("Set max_retry_count in a/b.py.", "retry"),
        ("Set max_retry_count in a/b.py.", "a/b.py"),
        ("Call parseHTTPResponse first.", "parseHTTPResponse"),
        ("Call parseHTTPResponse first.", "response"),
        ("It failed with ERR_CONN_RESET (E1234).", "E1234"),
        ("It failed with ERR_CONN_RESET (E1234).", "conn reset"),
        ("東京都の天気は晴れです", "天気"),
        ("서울의 날씨는 맑습니다", "날씨"),
        ("今天天气很好", "天气"),
        ("วันนี้อากาศดีมาก", "อากาศ"),
        ("आज मौसम अच्छा है", "मौसम"),
        ("الطقس جميل اليوم", "الطقس"),
        ("ﬁne tuning", "fine"),
        ("zero\u200bwidth", "zerowidth"),
        ("Cafe\u0301", "Café"),
    ],
)
def test_words_of_a_query_are_words_of_the_documents_that_hold_them(content: str, query: str) -> None:
    assert query_terms(query)
    assert set(query_terms(query)) <= set(query_terms(content))


def test_the_passage_begins_with_the_date_where_there_is_one() -> None:
    assert passage("We met.", datetime(2023, 5, 8, tzinfo=UTC)) == "On 8 May 2023, We met."
    assert passage("We met.", None) == "We met."
