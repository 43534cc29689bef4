"""Whether a hit answers the question at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.domain.embedding import Calibration
from tmws_core.domain.ranking import Ranked
from tmws_core.domain.relevance import MANY, Relevance, Scale

STRONG, FAIR, WEAK = Relevance.STRONG, Relevance.FAIR, Relevance.WEAK
E5 = Calibration(unrelated=0.75, related=0.85)
MINILM = Calibration(unrelated=0.05, related=0.55)
ORDER = [WEAK, FAIR, STRONG]
shares = st.floats(0, 1)


def hit(similarity: float | None = None, share: float | None = None) -> Ranked:
    return Ranked(1, 1.0, similarity=similarity, lexical_score=share)


@pytest.mark.parametrize(
    ("calibration", "similarity", "relevance"),
    [
        (MINILM, 0.2, WEAK),
        (MINILM, 0.5, FAIR),
        (MINILM, 0.8, STRONG),
        (E5, 0.8, WEAK),
        (E5, 0.84, FAIR),
        (E5, 0.9, STRONG),
        (None, 0.01, FAIR),
    ],
)
def test_a_cosine_means_what_it_means_with_its_model(
    calibration: Calibration | None, similarity: float, relevance: Relevance
) -> None:
    assert Scale(calibration=calibration).relevance(hit(similarity)) is relevance


def test_words_count_beside_meaning_and_more_alone() -> None:
    together = Scale(calibration=MINILM)
    assert [together.relevance(hit(0.4, share)) for share in (0.05, 0.3, 0.8)] == [WEAK, FAIR, STRONG]
    assert [Scale().relevance(hit(None, share)) for share in (0.1, 0.2, 0.4)] == [WEAK, FAIR, STRONG]
    assert together.relevance(hit(0.0, 1.0)) is FAIR


def test_what_the_model_cannot_read_is_judged_by_its_words() -> None:
    unreadable = Scale(calibration=MINILM, familiarity=0.0)
    assert [unreadable.relevance(hit(0.9, share)) for share in (0.05, 0.4)] == [WEAK, STRONG]


def test_of_many_texts_the_nearest_has_to_be_nearer() -> None:
    near = hit(0.35)
    assert Scale(calibration=MINILM, compared=3).relevance(near) is FAIR
    assert Scale(calibration=MINILM, compared=MANY).relevance(near) is WEAK
    assert [Scale(calibration=MINILM, compared=few).relevance(hit(0.26)) for few in (1, 2)] == [FAIR, WEAK]


def test_what_has_a_string_that_is_asked_for_is_strong_and_what_lacks_the_only_one_weak() -> None:
    has, has_not = Ranked(1, 1.0, similarity=0.1, exact=1.0), Ranked(2, 1.0, similarity=0.9, exact=0.0)
    assert [Scale(calibration=MINILM).relevance(each) for each in (has, has_not)] == [STRONG, STRONG]
    assert [Scale(calibration=MINILM, only=True).relevance(each) for each in (has, has_not)] == [STRONG, WEAK]


def test_what_is_not_among_the_nearest_is_as_near_as_the_last_of_them_at_most() -> None:
    by_words = hit(None, 0.25)
    assert Scale(calibration=MINILM, beyond=None).relevance(by_words) is FAIR
    assert Scale(calibration=MINILM, beyond=0.1).relevance(by_words) is WEAK


@given(shares, st.tuples(shares, shares), st.tuples(shares, shares), st.integers(1, 1000))
def test_nearer_hits_are_not_less_relevant(
    familiarity: float, similarities: tuple[float, float], words: tuple[float, float], compared: int
) -> None:
    scale = Scale(familiarity=familiarity, calibration=MINILM, compared=compared)
    low, high = (scale.relevance(hit(choose(similarities), choose(words))) for choose in (min, max))
    assert ORDER.index(low) <= ORDER.index(high)
