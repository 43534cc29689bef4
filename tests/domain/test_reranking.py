"""The second look at the best hits: times, forms of speech, recency, repetitions."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.memories import MOMENT
from tmws_core.domain.dates import period_in
from tmws_core.domain.dialogue import Question, speaker_of
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType, Uses
from tmws_core.domain.ranking import Ranked
from tmws_core.domain.reranking import Boosts, SecondLook

NOW = datetime(2024, 3, 13, 15, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("What happened on 2023-05-08?", date(2023, 5, 8), date(2023, 5, 8)),
        ("the 8th of May 2023", date(2023, 5, 8), date(2023, 5, 8)),
        ("on May 8, 2023", date(2023, 5, 8), date(2023, 5, 8)),
        ("30 February 2023", date(2023, 2, 1), date(2023, 2, 28)),
        ("in May 2023", date(2023, 5, 1), date(2023, 5, 31)),
        ("in December 2023", date(2023, 12, 1), date(2023, 12, 31)),
        ("in February", date(2024, 2, 1), date(2024, 2, 29)),
        ("in October", date(2023, 10, 1), date(2023, 10, 31)),
        ("during 2022", date(2022, 1, 1), date(2022, 12, 31)),
        ("What did we decide yesterday?", date(2024, 3, 12), date(2024, 3, 12)),
        ("last week", date(2024, 3, 4), date(2024, 3, 10)),
        ("this week", date(2024, 3, 11), date(2024, 3, 17)),
        ("last month", date(2024, 2, 1), date(2024, 2, 29)),
        ("last year", date(2023, 1, 1), date(2023, 12, 31)),
        ("three days ago", date(2024, 3, 10), date(2024, 3, 10)),
    ],
)
def test_a_time_in_a_query_is_a_period(query: str, first: date, last: date) -> None:
    period = period_in(query, NOW)
    assert period is not None
    assert (period.start.date(), (period.end - timedelta(seconds=1)).date()) == (first, last)
    assert period.holds(period.start)
    assert not period.holds(period.end)


@pytest.mark.parametrize("query", ["may I?", "2023-13-45", "Who is May?", "error 1999", ""])
def test_what_names_no_time_is_no_period(query: str) -> None:
    assert period_in(query, NOW) is None


@given(st.text(max_size=80), st.datetimes(timezones=st.just(UTC)))
def test_any_query_at_any_time_is_read(query: str, now: datetime) -> None:
    period_in(query, now)


def test_999_years_ago_and_before_is_no_period() -> None:
    assert period_in("999 years ago", datetime(900, 1, 1, tzinfo=UTC)) is None


def test_a_speaker_is_a_short_label_before_a_colon() -> None:
    assert speaker_of("Ana: I paint.") == "Ana"
    assert speaker_of("Mary Ann Lee: hello") == "Mary Ann Lee"
    assert speaker_of("https://example.org: a page") is None
    assert speaker_of("This is a long sentence, it says: no") is None


def test_answers_of_the_named_speaker_gain_and_questions_lose() -> None:
    question = Question.of("What did Ana paint?")
    assert question.nudge("Ana: I painted the sea.") > question.nudge("Ben: I painted the sea.") == 0
    assert question.nudge("Ben: What did you paint?") < 0


def test_a_question_for_what_is_not_prefers_memories_that_say_so_of_it() -> None:
    for query in ("What do we not ship by email?", "What don't we ship?", "Which exports are never shipped?"):
        question = Question.of(query)
        assert question.nudge("We don\u2019t ship exports by email, never.") > question.nudge("We ship exports.") == 0
        assert question.nudge("Nobody paints the fence.") == 0
    assert Question.of("What do we ship by email?").nudge("We don't ship exports by email.") == 0


def test_a_question_for_a_time_prefers_memories_that_name_one() -> None:
    assert Question.of("When did she paint it?").nudge("I painted it last Sunday.") > 0
    assert Question.of("What did she paint?").nudge("I painted the sea last Sunday.") == 0


def _memory(document: int, content: str, *, days_ago: float = 0, importance: float = 0.5) -> Memory:
    moment = NOW - timedelta(days=days_ago)
    return Memory(
        id=f"01890a5d-ac96-774b-bcce-{document:012d}",
        document=document,
        agent_id="athena",
        namespace="acme",
        content=content,
        memory_type=MemoryType.EPISODIC,
        importance=importance,
        access_level=AccessLevel.PRIVATE,
        metadata={},
        written_by="athena",
        transport="python",
        occurred_at=moment,
        created_at=moment,
        updated_at=moment,
    )


def _order(
    query: str,
    *pairs: tuple[float, Memory],
    boosts: Boosts | None = None,
    uses: Mapping[int, Uses] | None = None,
) -> list[int]:
    look = SecondLook.of(query, boosts or Boosts(), NOW)
    ranked = [Ranked(document=memory.document, score=score) for score, memory in pairs]
    return [hit.document for hit in look.order(ranked, {memory.document: memory for _, memory in pairs}, uses or {})]


def test_a_memory_of_the_named_time_comes_first() -> None:
    old, new = _memory(1, "We chose blue.", days_ago=9), _memory(2, "We chose green.", days_ago=1)
    assert _order("what did we choose last week", (0.8, new), (0.75, old)) == [1, 2]
    assert _order("what did we choose", (0.8, new), (0.75, old)) == [2, 1]


def test_what_has_the_strings_of_the_query_as_they_stand_comes_first() -> None:
    permuted, exact = _memory(1, "Release 7.4.2 is out."), _memory(2, "In release 2.4.7 the cache is gone.")
    within = _memory(3, "Release 1.2.4.7 came later.")
    hits = ((1.0, permuted), (0.2, exact), (0.3, within))
    assert _order("release 2.4.7", *hits) == [2, 3, 1]
    assert _order("release", *hits) == [1, 3, 2]


def test_recency_and_importance_count_only_if_asked_for() -> None:
    old = _memory(1, "We chose blue.", days_ago=400, importance=1.0)
    new = _memory(2, "We chose green.", days_ago=1, importance=0.0)
    assert _order("choice", (0.8, old), (0.79, new)) == [1, 2]
    assert _order("choice", (0.8, old), (0.79, new), boosts=Boosts(recency=0.1)) == [2, 1]
    assert _order("choice", (0.79, old), (0.8, new), boosts=Boosts(importance=0.1)) == [1, 2]


def test_recency_halves_every_half_life() -> None:
    boosts = Boosts(recency=1.0, half_life=timedelta(days=10))
    assert boosts.of(_memory(1, "x"), None, NOW) == pytest.approx(1.0)
    assert boosts.of(_memory(1, "x", days_ago=10), None, NOW) == pytest.approx(0.5)
    assert boosts.of(_memory(1, "x", days_ago=-5), None, NOW) == pytest.approx(1.0)


def test_use_counts_only_if_asked_for_and_less_the_longer_it_is_past() -> None:
    used, other = _memory(1, "We chose blue."), _memory(2, "We chose green.")
    uses = {1: Uses(count=3, last=NOW)}
    assert _order("choice", (0.79, used), (0.8, other), uses=uses) == [2, 1]
    assert _order("choice", (0.79, used), (0.8, other), uses=uses, boosts=Boosts(use=0.1)) == [1, 2]
    boosts = Boosts(use=1.0, half_life=timedelta(days=10))
    assert boosts.of(used, Uses(1, NOW), NOW) == pytest.approx(1 / 2)
    assert boosts.of(used, Uses(3, NOW - timedelta(days=10)), NOW) == pytest.approx(3 / 8)


def test_texts_that_repeat_a_better_one_stand_behind_the_others() -> None:
    text = "The deploy key of the staging cluster lives in the vault of the team"
    pairs = [(0.9 - number / 100, _memory(number, f"{text}")) for number in range(1, 6)]
    other = (0.5, _memory(9, "The vault is sealed at night."))
    assert _order("deploy key", *pairs, other) == [1, 9, 2, 3, 4, 5]


@given(st.lists(st.tuples(st.floats(0, 1), st.text(max_size=20)), max_size=10))
def test_a_second_look_keeps_every_hit_and_scores_in_bounds(pairs: list[tuple[float, str]]) -> None:
    held = {number: _memory(number, content) for number, (_, content) in enumerate(pairs)}
    ranked = [Ranked(document=number, score=score) for number, (score, _) in enumerate(pairs)]
    looked = SecondLook.of("When did Ana say it in May 2023?", Boosts(recency=0.5), MOMENT).order(ranked, held, {})
    assert sorted(hit.document for hit in looked) == sorted(held)
    assert all(0 <= hit.score <= 1 for hit in looked)


def test_hits_have_their_nudged_scores_and_those_without_a_memory_are_left_out() -> None:
    liked, plain = (_memory(document, f"We chose {document}.", importance=document - 1.0) for document in (2, 1))
    look = SecondLook.of("choice", Boosts(importance=0.3), NOW)

    def looked(*scores: float) -> list[tuple[int, float, float]]:
        ranked = [Ranked(document=document, score=score) for document, score in zip((2, 1, 9), scores, strict=False)]
        hits = look.order(ranked, {1: plain, 2: liked}, {})
        return [(hit.document, round(hit.score, 9), round(hit.nudge, 9)) for hit in hits]

    assert looked(0.5, 0.7, 0.9) == [(2, 0.8, 0.3), (1, 0.7, 0.0)]
    assert looked(0.9, 1.0) == [(2, 1.0, 0.3), (1, 1.0, 0.0)]
    assert looked(0.4, 0.7)[0] == (2, 0.7, 0.3)
    (question,) = SecondLook.of("choice", Boosts(), NOW).order([Ranked(3, 0.0)], {3: _memory(3, "We did what?")}, {})
    assert (question.score, question.nudge < 0) == (0.0, True)


def test_repetitions_stand_behind_as_many_as_are_wanted_and_all_others() -> None:
    said = ["Blue.", "blue", "Green.", "BLUE", "Red.", "green!"]
    memories = {document: _memory(document, text) for document, text in enumerate(said)}
    ranked = [Ranked(document=document, score=1 - document / 10) for document in memories]

    def order(*wanted: int) -> list[int]:
        look = SecondLook.of("choice", Boosts(), NOW)
        return [hit.document for hit in look.order(ranked, memories, {}, *wanted)]

    assert order() == [0, 2, 4, 1, 3, 5]
    assert order(2) == [0, 2, 3, 4, 5, 1]
    assert order(1) == [0, 1, 2, 3, 4, 5]


def test_what_happened_before_it_was_stored_is_as_old_as_its_date_says() -> None:
    old = attrs.evolve(_memory(1, "We chose blue.", days_ago=7), created_at=NOW)
    assert Boosts(recency=1.0, half_life=timedelta(days=7)).of(old, None, NOW) == pytest.approx(0.5)
    assert _order("what did we choose last week", (0.8, _memory(2, "Green.")), (0.7, old)) == [1, 2]


def test_what_has_no_date_happened_when_it_was_stored() -> None:
    old = attrs.evolve(_memory(1, "We chose blue.", days_ago=10), occurred_at=None)
    assert Boosts(recency=1.0, half_life=timedelta(days=10)).of(old, None, NOW) == pytest.approx(0.5)
    assert _order("what did we choose last week", (0.8, _memory(2, "Green.")), (0.7, old)) == [2, 1]
    last_week = attrs.evolve(_memory(1, "We chose blue.", days_ago=7), occurred_at=None)
    assert _order("what did we choose last week", (0.8, _memory(2, "Green.")), (0.7, last_week)) == [1, 2]
