"""Searching and listing."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from tests.services.clock import SettableClock
from tests.services.conftest import World
from tmws_adapters.bootstrap import compose, open_app, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.memory import AccessLevel, MemoryType
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    GetMemory,
    ListMemories,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories, SearchMode

pytestmark = pytest.mark.anyio
YESTERDAY = datetime.now(UTC) - timedelta(days=1)  # noqa: TID251 - expiry is about the real present


_LONG = "Every night but the last of a year the backup of the main vault in the cellar under our old brick house"


async def _fill(world: World, number: int) -> list[str]:
    batch = CreateMemories(memories=tuple(CreateMemory(content=f"Note {index} on gardens.") for index in range(number)))
    return [result.memory_id for result in (await world.app.call(world.agent("athena"), batch)).results]


async def test_pages_of_a_list_hold_every_memory_once_while_others_are_written(world: World) -> None:
    ids = await _fill(world, 25)
    athena = world.agent("athena")
    seen: list[str] = []
    request = ListMemories(limit=10)
    while True:
        page = await world.app.call(athena, request)
        seen += [memory.memory_id for memory in page.memories]
        await world.app.call(athena, CreateMemory(content=f"Written after page {len(seen)}."))
        if page.next_cursor is None:
            break
        request = attrs.evolve(request, cursor=page.next_cursor)
    assert seen == ids[::-1]


async def test_a_list_begins_with_the_oldest_if_asked_to(world: World) -> None:
    ids = await _fill(world, 3)
    page = await world.app.call(world.agent("athena"), ListMemories(oldest_first=True))
    assert [memory.memory_id for memory in page.memories] == ids


async def test_pages_of_a_search_hold_every_hit_once(world: World) -> None:
    ids = await _fill(world, 25)
    seen = await world.pages(SearchMemories(query="gardens", limit=10))
    assert sorted(seen) == sorted(ids)


@pytest.mark.parametrize(
    ("fact", "contradiction"),
    [
        ("Alice reports to Bob", "Bob reports to Alice"),
        (
            "We will ship the payroll export to auditors by email every month.",
            "We will not ship the payroll export to auditors by email every month.",
        ),
        (f"{_LONG} starts at 02:15", f"{_LONG} starts at 03:45"),
        (f"{_LONG} takes 500 seconds", f"{_LONG} takes 50 seconds"),
    ],
)
async def test_facts_that_contradict_each_other_are_both_found_beside_ten_others(
    world: World, fact: str, contradiction: str
) -> None:
    athena = world.agent("athena")
    notes = [f"Note {number}: the gym opens at nine." for number in range(10)]
    batch = CreateMemories(memories=tuple(CreateMemory(content=text) for text in (*notes, fact, contradiction)))
    await world.app.call(athena, batch)
    found = await world.app.call(athena, SearchMemories(query=fact))
    assert {fact, contradiction} <= {hit.content for hit in found.results}


async def test_a_cursor_of_another_query_is_refused(world: World) -> None:
    await _fill(world, 3)
    athena = world.agent("athena")
    found = await world.app.call(athena, SearchMemories(query="gardens", limit=1))
    for request in (
        SearchMemories(query="notes", limit=1, cursor=found.next_cursor),
        SearchMemories(query="gardens", limit=1, cursor="AAAA"),
    ):
        with pytest.raises(InvalidField) as refusal:
            await world.app.call(athena, request)
        assert refusal.value.field == "cursor"


async def test_filters_narrow_a_search(world: World) -> None:
    athena = world.agent("athena")
    rose = await world.app.call(
        athena,
        CreateMemory(
            content="The rose garden.",
            tags=("garden", "rose"),
            importance=0.9,
            memory_type=MemoryType.SEMANTIC,
            session_id="s1",
            occurred_at=datetime(2023, 5, 8, tzinfo=UTC),
        ),
    )
    await world.app.call(athena, CreateMemory(content="The herb garden.", tags=("garden", "herb"), importance=0.1))
    for narrowed in (
        SearchMemories(query="garden", tags_all=("garden", "rose")),
        SearchMemories(query="garden", tags_any=("rose", "tulip")),
        SearchMemories(query="garden", min_importance=0.5),
        SearchMemories(query="garden", memory_type=MemoryType.SEMANTIC),
        SearchMemories(query="garden", session_id="s1"),
        SearchMemories(query="garden", occurred_before=datetime(2024, 1, 1, tzinfo=UTC)),
    ):
        found = await world.app.call(athena, narrowed)
        assert [hit.memory_id for hit in found.results] == [rose.memory_id], narrowed
    assert len((await world.app.call(athena, SearchMemories(query="garden"))).results) == 2


async def test_an_expired_memory_is_found_only_if_asked_for(world: World) -> None:
    athena = world.agent("athena")
    await world.app.call(athena, CreateMemory(content="The rose blooms.", expires_at=YESTERDAY))
    assert (await world.app.call(athena, SearchMemories(query="rose"))).results == ()
    assert len((await world.app.call(athena, SearchMemories(query="rose", include_expired=True))).results) == 1


async def test_a_search_as_of_a_moment_shows_the_world_of_then(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="The port is 8000."))
    before = (await world.app.call(athena, ListMemories())).memories[0].created_at
    await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content="The port is 9000."))
    await world.app.call(athena, CreateMemory(content="The port is written down."))
    then = await world.app.call(athena, SearchMemories(query="port", as_of=before, details=True))
    assert [(hit.content, hit.version) for hit in then.results] == [("The port is 8000.", 1)]
    assert len((await world.app.call(athena, SearchMemories(query="port"))).results) == 2
    long_ago = await world.app.call(athena, SearchMemories(query="port", as_of=YESTERDAY))
    assert long_ago.results == ()


async def test_an_explanation_says_where_the_score_came_from(world: World) -> None:
    athena = world.agent("athena")
    await world.app.call(athena, CreateMemory(content="The rose blooms."))
    hit = (await world.app.call(athena, SearchMemories(query="rose blooms", explain=True))).results[0]
    assert hit.explanation is not None
    assert (hit.explanation.lexical_rank, hit.explanation.semantic_rank) == (1, 1)
    assert hit.score == pytest.approx(1)
    assert hit.allowed_by == "owner"


async def test_each_mode_uses_its_own_list(world: World) -> None:
    athena = world.agent("athena")
    await world.app.call(athena, CreateMemory(content="The rose blooms."))
    by_words = await world.app.call(athena, SearchMemories(query="rose", mode=SearchMode.LEXICAL, explain=True))
    by_meaning = await world.app.call(athena, SearchMemories(query="rose", mode=SearchMode.SEMANTIC, explain=True))
    assert (by_words.results[0].similarity, by_words.results[0].lexical_rank) == (None, 1)
    assert by_meaning.results[0].similarity is not None
    assert by_meaning.results[0].lexical_rank is None


async def test_hits_below_the_wanted_similarity_are_left_out(world: World) -> None:
    athena = world.agent("athena")
    await world.app.call(athena, CreateMemory(content="The rose blooms."))
    request = SearchMemories(query="The rose blooms.", min_similarity=0.999)
    assert len((await world.app.call(athena, request)).results) == 1
    await world.app.call(athena, CreateMemory(content="Release 2.4.7 is out."))
    for query in ("rose", "What broke with 2.4.7?"):
        assert (await world.app.call(athena, attrs.evolve(request, query=query))).results == ()


async def test_hits_without_a_similarity_are_left_out_if_any_is_wanted(world: World) -> None:
    athena = world.agent("athena")
    await world.app.call(athena, CreateMemory(content="The rose blooms."))
    request = SearchMemories(query="rose", min_similarity=-1.0, mode=SearchMode.LEXICAL)
    assert (await world.app.call(athena, request)).results == ()
    assert len((await world.app.call(athena, attrs.evolve(request, mode=SearchMode.HYBRID))).results) == 1


@pytest.mark.parametrize("query", ["?!", "🌹", "-", '"', "NEAR(", "* OR *", "a", "the", "天", "ก", "\u200b", "م"])
async def test_odd_queries_are_answered(world: World, query: str) -> None:
    await _fill(world, 2)
    found = await world.app.call(world.agent("athena"), SearchMemories(query=query))
    assert len(found.results) <= 2


async def test_japanese_is_found_by_words_of_two_characters(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="東京都の天気は晴れです。"))
    await world.app.call(athena, CreateMemory(content="大阪の料理は美味しい。"))
    found = await world.app.call(athena, SearchMemories(query="天気", mode=SearchMode.LEXICAL))
    assert [hit.memory_id for hit in found.results] == [created.memory_id]


async def test_a_clock_that_steps_back_hides_nothing_and_brings_nothing_back(settings: Settings) -> None:
    clock = SettableClock(YESTERDAY + timedelta(days=1))
    async with open_parts(settings) as parts:
        app = compose(settings, attrs.evolve(parts, clock=clock))
        athena = settings.agent()
        old = await app.call(athena, CreateMemory(content="The office is in Oslo."))
        new = await app.call(athena, CreateMemory(content="The office is in Bergen."))
        await app.call(athena, UpdateMemory(memory_id=old.memory_id, superseded_by=new.memory_id))
        clock.time = YESTERDAY
        found = await app.call(athena, SearchMemories(query="office"))
    assert [hit.memory_id for hit in found.results] == [new.memory_id]


async def _talk(world: World, *turns: str, session: str = "s1", agent: str = "athena") -> list[str]:
    ids = []
    for sequence, content in enumerate(turns):
        request = CreateMemory(content=content, session_id=session, sequence=sequence)
        ids.append((await world.app.call(world.agent(agent), request)).memory_id)
    return ids


async def _by_words(world: World, query: str, agent: str = "athena") -> list[str]:
    request = SearchMemories(query=query, mode=SearchMode.LEXICAL)
    return [hit.memory_id for hit in (await world.app.call(world.agent(agent), request)).results]


async def test_a_turn_is_found_by_the_words_of_the_two_turns_before_it(world: World) -> None:
    which, blue, fine, later = await _talk(world, "Which colour?", "Blue.", "Fine.", "Goodbye.")
    assert await _by_words(world, "colour") == [which, blue, fine]
    assert later in await _by_words(world, "blue")


async def test_a_turn_borrows_words_only_from_its_own_session_and_owner(world: World) -> None:
    await _talk(world, "Which colour?", session="s2")
    await _talk(world, "Which colour?", session="s1", agent="artemis")
    (blue,) = await _talk(world, "Blue.", session="s1")
    assert blue not in await _by_words(world, "colour")


async def test_a_private_turn_lends_no_words_to_a_public_one(world: World) -> None:
    athena = world.agent("athena")
    await world.app.call(athena, CreateMemory(content="The password is swordfish.", session_id="s", sequence=0))
    public = CreateMemory(content="See above.", session_id="s", sequence=1, access_level=AccessLevel.PUBLIC)
    await world.app.call(athena, public)
    assert await _by_words(world, "swordfish", agent="artemis") == []


async def test_borrowed_words_follow_changes_deletions_and_late_arrivals(world: World) -> None:
    athena = world.agent("athena")
    which, blue = await _talk(world, "Which colour?", "Blue.")
    await world.app.call(athena, UpdateMemory(memory_id=which, content="Which taste?"))
    assert await _by_words(world, "colour") == []
    assert await _by_words(world, "taste") == [which, blue]
    await world.app.call(athena, UpdateMemory(memory_id=which, access_level=AccessLevel.PUBLIC))
    assert await _by_words(world, "taste") == [which]
    await world.app.call(athena, UpdateMemory(memory_id=which, access_level=AccessLevel.PRIVATE))
    assert await _by_words(world, "taste") == [which, blue]
    await world.app.call(athena, DeleteMemory(memory_id=which))
    assert await _by_words(world, "taste") == []
    late = CreateMemory(content="Which size?", session_id="s1", sequence=0)
    late_id = (await world.app.call(athena, late)).memory_id
    assert await _by_words(world, "size") == [late_id, blue]


async def test_a_batch_in_any_order_lends_the_same_words(world: World) -> None:
    turns = [
        CreateMemory(content=content, session_id="s", sequence=sequence)
        for sequence, content in ((2, "Fine."), (0, "Which colour?"), (1, "Blue."))
    ]
    results = (await world.app.call(world.agent("athena"), CreateMemories(memories=tuple(turns)))).results
    fine, which, blue = (result.memory_id for result in results)
    assert await _by_words(world, "colour") == [which, blue, fine]


async def test_a_question_about_a_time_finds_what_happened_then(world: World) -> None:
    athena = world.agent("athena")
    may = CreateMemory(content="We went hiking.", occurred_at=datetime(2023, 5, 8, tzinfo=UTC))
    june = CreateMemory(content="We went hiking again.", occurred_at=datetime(2023, 6, 8, tzinfo=UTC))
    may_id = (await world.app.call(athena, may)).memory_id
    june_id = (await world.app.call(athena, june)).memory_id
    for query, first in (("hiking in May 2023", may_id), ("hiking in June 2023", june_id)):
        found = await world.app.call(athena, SearchMemories(query=query))
        assert found.results[0].memory_id == first
    week = SearchMemories(query="hiking last week", as_of=datetime(2030, 5, 15, tzinfo=UTC))
    assert len((await world.app.call(athena, week)).results) == 2


@pytest.mark.parametrize("edge", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
async def test_a_memory_of_the_first_or_the_last_moment_is_found_and_read(world: World, edge: datetime) -> None:
    athena = world.agent("athena")
    request = CreateMemory(content="We went hiking.", occurred_at=edge, expires_at=datetime.max.replace(tzinfo=UTC))
    created = await world.app.call(athena, request)
    await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content="We went home.", occurred_at=edge))
    found = await world.app.call(athena, SearchMemories(query="home a year ago", occurred_after=edge))
    assert [hit.occurred_at for hit in found.results] == [edge]
    for moment in (edge, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        await world.app.call(athena, SearchMemories(query="home last year", as_of=moment, created_before=moment))


@pytest.mark.parametrize("field", ["occurred_at", "expires_at"])
def test_a_time_that_utc_has_no_date_for_is_refused(field: str) -> None:
    for moment in (
        datetime.min.replace(tzinfo=timezone(timedelta(hours=9))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-9))),
    ):
        given: dict[str, Any] = {field: moment}
        with pytest.raises(InvalidField, match="years 1 to 9999") as refusal:
            CreateMemory(content="x", **given)
        assert refusal.value.field == field


async def test_what_is_read_by_its_id_comes_first_if_use_counts(settings: Settings) -> None:
    counting = attrs.evolve(settings, search_use=0.5)
    operator = counting.operator()
    async with open_app(counting) as app:
        often = await app.call(operator, CreateMemory(content="the blue vault of the bank"))
        await app.call(operator, CreateMemory(content="the blue vault of the town"))
        for _ in range(5):
            await app.call(operator, GetMemory(memory_id=often.memory_id))
        before = await app.call(operator, SearchMemories(query="blue vault"))
    async with open_app(counting) as app:
        after = await app.call(operator, SearchMemories(query="blue vault"))
    async with open_app(settings) as app:
        uncounted = await app.call(operator, SearchMemories(query="blue vault"))

    assert before.results[0].memory_id != often.memory_id
    assert after.results[0].memory_id == often.memory_id
    assert uncounted.results[0].memory_id != often.memory_id


@pytest.mark.parametrize("familiarity", [1.0, 0.0])
async def test_meaning_counts_as_far_as_the_model_can_read_what_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch, familiarity: float
) -> None:
    async def familiar(*_: object) -> float:
        return familiarity

    monkeypatch.setattr("tmws_adapters.ollama.embedder._OllamaEmbedder.familiarity", familiar)
    athena = world.agent("athena")
    for content in ("The rose blooms.", "The tulip does not.", "Apples ripen."):
        await world.app.call(athena, CreateMemory(content=content))
    first, second, last = (await world.app.call(athena, SearchMemories(query="the rose"))).results
    assert first.content == "The rose blooms."
    assert (second.score > last.score) is (familiarity > 0), (first.score, second.score, last.score)
