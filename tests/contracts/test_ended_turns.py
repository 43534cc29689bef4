"""What has been replaced, has expired, or is not seen tells nothing by the words that it once lent to other turns.

A reader searches for every word, and finds what it would find if the store held nothing else than what it may find.
"""

from datetime import timedelta
from random import Random
from typing import Any

import attrs
import pytest

from tests.contracts.builders import DAY, EVERYTHING, NOON, memory, new, scope
from tests.contracts.steps import get, replace, store
from tests.contracts.stores import Fresh, Store
from tmws_adapters.sql.memories import RETURNED
from tmws_core.domain.access import Visibility
from tmws_core.domain.memory import BETWEEN, AccessLevel, Memory
from tmws_core.errors import InvalidField
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

WORDS = ("apples", "pears", "plums", "cherries", "melons", "quinces", "figs")
READERS = (Visibility("ada", "acme"), Visibility("eve", "acme"), EVERYTHING)
ENDS = (None, None, NOON + timedelta(days=1), NOON + timedelta(days=2), DAY)
LEVELS = (AccessLevel.PUBLIC, AccessLevel.PUBLIC, AccessLevel.PRIVATE, AccessLevel.SHARED)

Found = dict[str, list[tuple[str, float]]]


async def found(store: Store, reader: Visibility, **filters: Any) -> Found:
    """Return the contents and scores that a reader finds by each word."""
    answers: Found = {}
    for word in WORDS:
        hits = await store.lexical.search(scope(reader, **filters), [word], 99)
        async with store.storage.read() as snapshot:
            memories = await snapshot.memories.of_documents([hit.document for hit in hits], scope(**filters))
        answers[word] = [(memories[hit.document].content, hit.score) for hit in hits]
    return answers


async def everything(store: Store) -> list[Memory]:
    """Return all memories in the order of their documents."""
    everything = scope(include_expired=True, include_superseded=True)
    async with store.storage.read() as snapshot:
        memories = await snapshot.memories.page(everything, after=None, limit=999, order="oldest")
    return sorted(memories, key=lambda each: each.document)


async def seen(store: Store, reader: Visibility) -> list[Memory]:
    """Return what a reader may find, in the order of the documents."""
    async with store.storage.read() as snapshot:
        memories = await snapshot.memories.page(scope(reader), after=None, limit=999, order="oldest")
    return sorted(memories, key=lambda each: each.document)


def turn(random: Random) -> Memory:
    return memory(
        content=" ".join(random.choices(WORDS, k=random.randrange(1, 6))),
        agent_id=random.choice(("ada", "ada", "bob")),
        access_level=random.choice(LEVELS),
        session_id="s",
        sequence=random.randrange(12),
        expires_at=random.choice(ENDS),
    )


def changed(random: Random, former: Memory, others: list[Memory]) -> Memory:
    ended = {"superseded_by": random.choice(others).id, "superseded_at": DAY}
    kinds = (
        {"expires_at": random.choice(ENDS)},
        {"superseded_by": None, "superseded_at": None} if former.superseded_at else ended,
        {"content": turn(random).content},
        {"access_level": random.choice(LEVELS)},
        {"sequence": random.randrange(12)},
    )
    return attrs.evolve(former, **random.choice(kinds))


async def live(store: Store, random: Random) -> None:
    """Store, change and delete turns of one session."""
    for _ in range(25):
        there = await everything(store)
        async with store.storage.write() as unit:
            if not there or random.random() < 0.4:
                await unit.changes.add([new(turn(random)) for _ in range(random.randrange(1, 4))])
            else:
                former = await unit.memories.get(random.choice(there).id, EVERYTHING)
                if random.random() < 0.2:
                    await unit.changes.delete(former)
                else:
                    await unit.changes.replace(former, new(changed(random, former, there)))


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_reader_finds_what_it_would_without_what_has_ended_or_is_not_seen(fresh: Fresh, seed: int) -> None:
    async with fresh() as lived:
        await live(lived, Random(seed))
        answers = [await found(lived, reader) for reader in READERS]
        memories = [await seen(lived, reader) for reader in READERS]
        assert len(memories[-1]) < len(await everything(lived))
        assert await lived.storage.integrity() == []

    for reader, present, answer in zip(READERS, memories, answers, strict=True):
        async with fresh() as other:
            await store(other.storage, *map(new, present))
            assert await found(other, reader) == answer


def said(sequence: int, content: str) -> Memory:
    return memory(content=content, session_id="s", sequence=sequence)


async def contents(store: Store, word: str, **filters: Any) -> list[str]:
    return [content for content, _ in (await found(store, EVERYTHING, **filters))[word]]


async def test_what_is_no_longer_replaced_as_its_successor_is_deleted_is_a_turn_again(opened: Store) -> None:
    successor = memory(content="figs")
    ended = attrs.evolve(said(2, "pears"), superseded_by=successor.id, superseded_at=DAY)
    await store(opened.storage, *map(new, (successor, said(1, "apples"), ended, said(3, "plums"))))
    assert await contents(opened, "apples") == ["apples", "plums"]
    assert await contents(opened, "pears") == []
    assert await contents(opened, "apples", include_superseded=True) == ["apples", "plums"]

    async with opened.storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(successor.id, EVERYTHING))

    assert await contents(opened, "apples") == ["apples", "pears", "plums"]
    assert await contents(opened, "pears") == ["pears", "plums"]
    assert await opened.storage.integrity() == []


async def test_of_many_turns_that_come_back_at_once_the_first_ones_borrow_words(opened: Store) -> None:
    """Nor is any found by words of turns that are no longer the two before it, and of which it would not be rid."""
    successor = memory(content="others")
    ended: dict[str, Any] = {"superseded_by": successor.id, "superseded_at": DAY}
    texts = dict.fromkeys(range(1, RETURNED + 5), "pears")
    texts |= {RETURNED - 1: "cherries", RETURNED + 1: "melons", RETURNED + 3: "plums", RETURNED + 4: "quinces"}
    many = [attrs.evolve(said(place, text), **ended) for place, text in texts.items()]
    await store(opened.storage, *map(new, (successor, said(0, "apples"), *many, said(99, "figs"))))
    assert await contents(opened, "apples") == ["apples", "figs"]

    async with opened.storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(successor.id, EVERYTHING))

    assert await contents(opened, "apples") == ["apples", "pears", "pears"]
    assert await contents(opened, "cherries") == ["cherries", "pears"]
    assert await contents(opened, "melons") == ["melons"]
    assert await contents(opened, "plums") == ["plums", "figs"]
    assert await contents(opened, "quinces") == ["quinces", "figs"]
    assert await opened.storage.integrity() == []

    await end(opened.storage, many[-1].id, sequence=100)

    assert await contents(opened, "plums") == ["plums", "figs", "quinces"]


async def test_turns_come_back_between_so_many_others_at_most(opened: Store) -> None:
    successor = memory(content="others")
    ended: dict[str, Any] = {"superseded_by": successor.id, "superseded_at": DAY}
    turns = [said(place, "pears") for place in range(2 * BETWEEN + 2)]
    turns[::2] = [attrs.evolve(each, **ended) for each in turns[::2]]
    await store(opened.storage, *map(new, (successor, *turns)))
    with pytest.raises(InvalidField, match="others between them") as refusal:
        async with opened.storage.write() as unit:
            await unit.changes.delete(await unit.memories.get(successor.id, EVERYTHING))
    assert refusal.value.field == "memory_id"
    assert (await get(opened.storage, turns[0].id)).superseded_by == successor.id

    await end(opened.storage, turns[0].id, superseded_by=None, superseded_at=None)
    async with opened.storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(successor.id, EVERYTHING))
    assert await opened.storage.integrity() == []


async def test_turns_of_others_come_back_however_many_stand_between_them(opened: Store) -> None:
    successor = memory(content="others", access_level=AccessLevel.PUBLIC)
    ended: dict[str, Any] = {"superseded_by": successor.id, "superseded_at": DAY}
    turns = [attrs.evolve(said(place, "pears"), agent_id="eve") for place in range(2 * BETWEEN + 2)]
    turns[::2] = [attrs.evolve(each, **ended) for each in turns[::2]]
    await store(opened.storage, *map(new, (successor, *turns)))

    async with opened.storage.write() as unit:
        relinked = await unit.changes.delete(await unit.memories.get(successor.id, EVERYTHING))

    assert {each.id for each in relinked} == {each.id for each in turns[::2]}
    assert (await get(opened.storage, turns[0].id)).superseded_at is None
    assert await opened.storage.integrity() == []


async def end(storage: Storage, memory_id: str, **fields: Any) -> None:
    former = await get(storage, memory_id)
    await replace(storage, former, new(attrs.evolve(former, **fields)))


async def test_turns_that_end_at_the_same_time_lend_their_words_to_each_other(opened: Store) -> None:
    turns = [said(place, content) for place, content in enumerate(("apples", "pears", "plums"))]
    await store(opened.storage, *map(new, turns))
    tomorrow = NOON + timedelta(days=1)

    await end(opened.storage, turns[0].id, expires_at=tomorrow)
    assert await contents(opened, "apples") == ["apples"]
    await end(opened.storage, turns[2].id, expires_at=tomorrow)

    assert await contents(opened, "apples") == ["apples", "plums"]
    assert await contents(opened, "pears") == ["pears"]
