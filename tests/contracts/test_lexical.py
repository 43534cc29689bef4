"""The contract of LexicalIndex."""

from typing import Any

import anyio
import attrs
import pytest

from tests.contracts.builders import EVERYTHING, memory, new, scope
from tests.contracts.stores import Store
from tmws_adapters.sqlite.lexical import ENOUGH, SCORED
from tmws_core.domain.access import Visibility
from tmws_core.domain.memory import AccessLevel, Memory
from tmws_core.domain.text import Lexical, query_terms

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(opened: Store) -> Store:
    return opened


async def add(store: Store, *contents: str, **fields: Any) -> list[str]:
    """Store texts and return the ids, which are in the order of the documents."""
    memories = [memory(content=content, **fields) for content in contents]
    async with store.storage.write() as unit:
        await unit.changes.add([new(each) for each in memories])
    return [each.id for each in memories]


async def search(store: Store, query: str, limit: int = 10) -> list[str]:
    hits = await store.lexical.search(scope(), query_terms(query), limit)
    async with store.storage.read() as snapshot:
        found = await snapshot.memories.of_documents([hit.document for hit in hits], scope())
    return [found[hit.document].content for hit in hits]


async def test_any_of_the_terms_is_enough(store: Store) -> None:
    await add(store, "red apples", "green pears", "blue plums")

    assert sorted(await search(store, "apples pears")) == ["green pears", "red apples"]


async def test_rare_words_count_more_than_frequent_ones(store: Store) -> None:
    await add(store, "apples stored", "apples eaten", "apples sold", "pears stored", "plums sold here")

    assert (await search(store, "apples pears"))[0] == "pears stored"


async def test_short_texts_count_more_than_long_ones(store: Store) -> None:
    await add(store, "apples and many other things that nobody asked for", "apples", "pears", "plums")

    assert (await search(store, "apples"))[0] == "apples"


async def test_scores_are_positive_and_fall(store: Store) -> None:
    await add(store, "apples pears", "apples", "apples and more and more", "plums", "cherries")

    scores = [hit.score for hit in await store.lexical.search(scope(), ["apples", "pears"], 10)]

    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0
    assert len(scores) == 3


async def test_a_score_is_the_share_of_the_rare_words_that_a_text_covers(store: Store) -> None:
    await add(store, "apples pears", "apples", "plums", *["cherries and figs"] * 9)

    async def scores(*terms: str) -> list[float]:
        return [hit.score for hit in await store.lexical.search(scope(), terms, 10)]

    both, one = await scores("apples", "pears")
    assert 0.6 < both < 1
    assert one < 0.6 * both
    (missing, *_) = await scores("apples", "pears", "quinces", "melons")
    assert missing < 0.6 * both


async def test_of_equal_texts_the_newest_come_first_even_at_the_limit(store: Store) -> None:
    await add(store, *["the same apples"] * 30)
    every = await store.lexical.search(scope(), ["apples"], 30)

    hits = await store.lexical.search(scope(), ["apples"], 3)

    assert hits == every[:3]
    assert [hit.document for hit in every] == sorted((hit.document for hit in every), reverse=True)


@pytest.mark.parametrize(
    ("content", "query"),
    [
        ("He was running", "run"),
        ("The cafés of Zürich", "cafe zurich"),
        ("HTTP timeouts", "http"),
        ("東京都の天気", "天気"),
        ("서울의 날씨", "날씨"),
        ("full width \uff21\uff22\uff23", "abc"),
        ("error 500", "500"),
        ("key a\u20ddb", "a\u20ddb"),
        ("the trains to Łódź", "lodz"),
        ("the trains to Lodz", "Łódź"),
        ("Große Straße 7", "grosse strasse"),
        ("Smørrebrød", "smorrebrod"),
        ("un œuvre", "oeuvre"),
        ("k\u0131rm\u0131z\u0131", "kirmizi"),
        ("ещё раз", "еще"),
        ("\u0397 Αθήνα είναι όμορφη", "ΑΘΗΝΑ ειναι"),
        ("ΚΑΛΟΣ ΚΟΣΜΟΣ", "καλός"),
        ("Київ", "киів"),
        ("O\u02bbahu lies west", "o'ahu"),
        ("Igor' calls", "Igor\u02b9"),
        ("Zav\u02bcyalova leads", "zav\u2019yalova"),
        ("مُحَمَّد أحمد", "محمد"),
        ("שָׁלוֹם", "שלום"),
        ("غرفة ٣٤٥", "345"),
        ("room 345", "३४५"),
        ("flowers 🌹 for Ana", "🌹"),
        ("love ❤\ufe0f", "❤"),
        ("costs €45", "€"),
        ("東京🌹都の天気", "🌹"),
    ],
)
async def test_words_are_found_in_other_forms(store: Store, content: str, query: str) -> None:
    await add(store, content, "something else")

    assert await search(store, query) == [content]


@pytest.mark.parametrize("term", ["or", "and", "not", "near", 'a"b', "a*", "text:a", "^a", "-a", "("])
async def test_no_term_is_query_syntax(store: Store, term: str) -> None:
    await add(store, "apples or pears and not plums")

    assert isinstance(await store.lexical.search(scope(), [term, "plums"], 5), list)


async def test_no_terms_find_nothing(store: Store) -> None:
    await add(store, "apples")

    assert await store.lexical.search(scope(), [], 5) == []


async def test_a_limit_is_filled_from_the_scope_however_many_better_hits_lie_outside(store: Store) -> None:
    mine = [memory(content="apples among a lot of other words", agent_id="ada") for _ in range(5)]
    others = [memory(content="apples", agent_id="bob") for _ in range(300)]
    async with store.storage.write() as unit:
        await unit.changes.add([new(each) for each in [*others, *mine, *(attrs.evolve(memory()) for _ in range(50))]])

    hits = await store.lexical.search(scope(Visibility("ada", "acme")), ["apples"], 5)

    async with store.storage.read() as snapshot:
        found = await snapshot.memories.of_documents([hit.document for hit in hits], scope())
    assert {each.id for each in found.values()} == {each.id for each in mine}


async def test_a_changed_text_is_found_by_its_new_words_only(store: Store) -> None:
    (memory_id,) = await add(store, "apples")
    async with store.storage.write() as unit:
        former = await unit.memories.get(memory_id, EVERYTHING)
        await unit.changes.replace(former, new(attrs.evolve(former, content="pears")))

    assert await search(store, "apples") == []
    assert await search(store, "pears") == ["pears"]


async def test_a_deleted_text_is_not_found(store: Store) -> None:
    (memory_id,) = await add(store, "apples")
    async with store.storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(memory_id, EVERYTHING))

    assert await search(store, "apples") == []


async def test_a_term_too_frequent_to_score_counts_only_while_rarer_ones_find_little(store: Store) -> None:
    count = SCORED + 500
    await add(store, *[f"fruit {number}" for number in range(count)], "a quince is a fruit")

    first = await store.lexical.search(scope(), ["fruit", "quince"], 1)
    few = await store.lexical.search(scope(), ["fruit", "quince"], count + 1)
    await add(store, *[f"quince {number}" for number in range(ENOUGH)])
    enough = await store.lexical.search(scope(), ["fruit", "quince"], count + 1)

    assert [hit.document for hit in first] == [count + 1]
    assert len(few) == count + 1
    assert len(enough) == ENOUGH + 1


async def test_in_a_small_scope_every_term_counts(store: Store) -> None:
    await add(
        store,
        *[f"fruit {number}" for number in range(SCORED + 500)],
        agent_id="athena",
        access_level=AccessLevel.PRIVATE,
    )
    mine = await add(store, "fruit of mine", "quince of mine", agent_id="artemis", access_level=AccessLevel.PRIVATE)

    hits = await store.lexical.search(scope(Visibility("artemis", "acme")), ["fruit", "quince"], 10)

    async with store.storage.read() as snapshot:
        found = await snapshot.memories.of_documents([hit.document for hit in hits], scope())
    assert {each.id for each in found.values()} == set(mine)


async def test_searches_run_while_others_write(store: Store) -> None:
    async def write(number: int) -> None:
        await add(store, f"apples {number}")

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(write, number)
            tasks.start_soon(search, store, "apples")

    assert len(await search(store, "apples", 30)) == 20


def turn(sequence: int, content: str, **fields: Any) -> Memory:
    return memory(content=content, session_id="s", sequence=sequence, **fields)


async def store_turns(store: Store, *turns: Memory) -> None:
    async with store.storage.write() as unit:
        await unit.changes.add([new(each) for each in turns])


async def test_a_turn_is_found_by_the_words_of_the_two_turns_before_it(store: Store) -> None:
    contents = ["apples", "pears", "plums", "cherries"]
    await store_turns(store, *(turn(place, content) for place, content in enumerate(contents)))

    assert await search(store, "apples") == ["apples", "pears", "plums"]


async def test_a_turn_that_comes_late_lends_its_words_to_those_behind_it(store: Store) -> None:
    await store_turns(store, turn(2, "pears"), turn(3, "plums"), turn(4, "cherries"))
    assert await search(store, "apples") == []

    await store_turns(store, turn(1, "apples"))

    assert await search(store, "apples") == ["apples", "pears", "plums"]


async def test_what_a_late_turn_lends_counts_although_the_turns_behind_it_were_searched_before(store: Store) -> None:
    await store_turns(store, turn(2, "pears"), memory(content="pears alone"))
    assert await search(store, "pears") == ["pears", "pears alone"]

    await store_turns(store, turn(1, "apples and melons"))

    assert await search(store, "pears") == ["pears alone", "pears"]


async def test_of_turns_with_the_same_sequence_the_one_stored_first_comes_first(store: Store) -> None:
    await store_turns(store, turn(2, "pears"), turn(3, "plums"), turn(3, "cherries"))
    await store_turns(store, turn(1, "apples"))
    assert await search(store, "apples") == ["apples", "pears", "plums"]
    assert await search(store, "pears") == ["pears", "plums", "cherries"]

    former = next(each for each in (await everything(store)) if each.content == "plums")
    async with store.storage.write() as unit:
        await unit.changes.replace(former, new(attrs.evolve(former, content="melons")))

    assert await search(store, "apples") == ["apples", "pears", "cherries"]
    assert await search(store, "melons") == ["melons"]
    assert await search(store, "cherries") == ["cherries", "melons"]


async def everything(store: Store) -> list[Memory]:
    async with store.storage.read() as snapshot:
        return [*(await snapshot.memories.of_documents(range(99), scope())).values()]


async def test_turns_lose_the_words_of_one_that_is_deleted_changed_or_read_by_others(store: Store) -> None:
    first, second, third = turn(1, "apples"), turn(2, "pears"), turn(3, "plums")
    await store_turns(store, first, second, third, turn(4, "cherries"))
    async with store.storage.write() as unit:
        former = await unit.memories.get(first.id, EVERYTHING)
        await unit.changes.replace(former, new(attrs.evolve(former, content="melons")))
    assert await search(store, "apples") == []
    assert await search(store, "melons") == ["melons", "pears", "plums"]

    async with store.storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(second.id, EVERYTHING))
    assert await search(store, "pears") == []
    assert await search(store, "melons") == ["melons", "plums", "cherries"]

    async with store.storage.write() as unit:
        former = await unit.memories.get(third.id, EVERYTHING)
        changed = attrs.evolve(former, access_level=AccessLevel.SHARED)
        await unit.changes.replace(former, attrs.evolve(new(changed), lexical=Lexical()))
    assert await search(store, "plums") == ["plums"]
    assert await search(store, "melons") == ["melons", "cherries"]
    assert await store.storage.integrity() == []
