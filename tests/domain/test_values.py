"""Ids, cursors, ranking and text."""

import string
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
    assert cursor.decode(request_, cursor.encode(request_, position)) == position


@given(texts, texts, texts)
def test_a_cursor_of_another_request_is_refused(request_: str, other: str, position: str) -> None:
    if request_ != other:
        with pytest.raises(InvalidField, match="cursor"):
            cursor.decode(other, cursor.encode(request_, position))


@given(texts, texts, st.data())
def test_a_tampered_cursor_is_refused(request_: str, position: str, data: st.DataObject) -> None:
    sealed = cursor.encode(request_, position)
    index = data.draw(st.integers(0, len(sealed) - 2))
    letter = data.draw(st.sampled_from(sorted(set(string.ascii_letters) - {sealed[index]})))
    with pytest.raises(InvalidField, match="cursor"):
        cursor.decode(request_, sealed[:index] + letter + sealed[index + 1 :])


@given(texts)
def test_noise_is_no_cursor(noise: str) -> None:
    with pytest.raises(InvalidField, match="cursor"):
        cursor.decode("request", noise)


def test_a_document_that_both_lists_hold_comes_before_one_that_a_single_list_puts_first() -> None:
    fused = fuse([Hit(1, 9.0), Hit(2, 8.0)], [Hit(3, 0.9), Hit(2, 0.8)])
    assert [hit.document for hit in fused] == [2, 3, 1]
    assert fused[0].lexical_rank == 2
    assert fused[0].similarity == 0.8


def test_first_in_every_list_scores_one() -> None:
    assert fuse([Hit(7, 3.0)], [Hit(7, 0.5)])[0].score == 1
    assert fuse([Hit(7, 3.0)], [])[0].score == 1


hits = st.lists(st.builds(Hit, st.integers(1, 30), st.floats(0, 10)), unique_by=lambda hit: hit.document)


@given(hits, hits)
def test_fusion_keeps_every_document_once_and_sorts_by_score(lexical: list[Hit], semantic: list[Hit]) -> None:
    fused = fuse(lexical, semantic)
    assert sorted(hit.document for hit in fused) == sorted({hit.document for hit in (*lexical, *semantic)})
    assert [hit.score for hit in fused] == sorted((hit.score for hit in fused), reverse=True)
    assert all(0 < hit.score <= 1 for hit in fused)


@given(st.text())
def test_query_terms_are_words_that_hold_no_syntax(query: str) -> None:
    terms = query_terms(query)
    assert len(terms) <= MAX_QUERY_TERMS
    assert all(term.replace("_", "").isalnum() and "_" not in term for term in terms)


def test_stop_words_are_dropped_unless_there_is_nothing_else() -> None:
    assert query_terms("What did the cat do?") == ["cat"]
    assert query_terms("To be, or not to be") == ["to", "be", "or", "not"]


def test_a_word_of_two_characters_in_japanese_is_a_term_of_its_document() -> None:
    document = lexical_document("東京都の天気は晴れです").split()
    assert set(query_terms("天気")) <= set(document)
    assert set(query_terms("東京")) <= set(document)


def test_identifiers_are_asked_for_by_their_parts() -> None:
    assert query_terms("max_retry_count in a/b.py") == ["max", "retry", "count", "b", "py"]


def test_the_passage_begins_with_the_date_where_there_is_one() -> None:
    assert passage("We met.", datetime(2023, 5, 8, tzinfo=UTC)) == "08 May 2023: We met."
    assert passage("We met.", None) == "We met."
