"""What is remembered of scopes follows whatever any server of the store changes, for words as for vectors."""

import random
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs
import pytest

from tests.contracts.builders import NOON, memory, new, scope, vector
from tests.contracts.steps import replace, store
from tests.contracts.test_vector_scopes import EAST, MEMORY, NORTH
from tests.servers.postgres import PostgresServer, behind
from tmws_adapters.exact import open_exact
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_adapters.postgres.edits import forget_edits
from tmws_adapters.postgres.scopes import Members, Scopes
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType, Share, SharePermission
from tmws_core.domain.ranking import Hit
from tmws_core.ports.lexical import LexicalIndex
from tmws_core.ports.storage import Storage
from tmws_core.ports.vector import VectorIndex
from tmws_core.services.recall import searchable_in

pytestmark = pytest.mark.anyio

ADA, BOB = Visibility("ada", "acme"), Visibility("bob", "umbrella")
WORDS = ("apple", "pear", "plum", "fig")

SCOPES = {
    "everything": scope(),
    "ada": scope(ADA),
    "bob": scope(BOB),
    "a namespace": scope(ADA, namespace="acme"),
    "a kind": scope(memory_type=MemoryType.WORKING),
    "the important": scope(ADA, min_importance=0.6),
    "a tag": scope(tags_any=("ripe",)),
    "a session": scope(session_id="s1"),
    "expired as well": scope(ADA, include_expired=True),
    "replaced as well": scope(ADA, include_superseded=True),
}


@attrs.frozen
class World:
    """A server that remembers, beside `other` servers of the same store, which change it."""

    storage: Storage
    words: LexicalIndex
    vectors: VectorIndex
    other: PostgresStore
    url: str

    async def near(self, wanted: Scope) -> list[int]:
        found = await self.vectors.search(await searchable_in(self.storage, wanted, self.vectors), EAST, 100)
        return sorted(hit.document for hit in found.hits)

    async def known(self, wanted: Scope) -> list[int]:
        """Ask until the scope is remembered."""
        return [await self.near(wanted) for _ in range(3)][-1]

    async def matching(self, wanted: Scope, *words: str) -> list[Hit]:
        return await self.words.search(wanted, words or WORDS, 100)


@asynccontextmanager
async def open_world(server: PostgresServer) -> AsyncIterator[World]:
    with server.database() as url:
        async with (
            open_postgres(url) as opened,
            open_postgres(url) as other,
            open_exact(opened.storage.vectors) as exact,
        ):
            index, words, _ = opened.vectors.keeping(exact, MEMORY)
            yield World(opened.storage, words, index, other, url)


@pytest.fixture
async def world(postgres: PostgresServer) -> AsyncIterator[World]:
    async with open_world(postgres) as opened:
        yield opened


async def all_of(storage: Storage) -> list[Memory]:
    async with storage.read() as snapshot:
        wanted = scope(include_expired=True, include_superseded=True)
        return await snapshot.memories.page(wanted, after=None, limit=1000, order="oldest")


async def change(storage: Storage, former: Memory, **fields: object) -> None:
    changed = attrs.evolve(former, version=former.version + 1, **fields)  # type: ignore[arg-type]  # of several types
    await replace(storage, former, new(changed, vector=EAST if "content" in fields else None))


async def test_who_loses_access_finds_it_no_more_and_who_gains_it_does(world: World) -> None:
    await store(world.storage, *(new(memory(access_level=AccessLevel.TEAM), vector=EAST) for _ in range(3)))
    assert await world.known(scope(Visibility("eve", "acme"))) == [1, 2, 3]
    assert await world.known(scope(BOB)) == []
    first, second, _ = await all_of(world.storage)
    await change(world.other.storage, first, access_level=AccessLevel.PRIVATE)
    shared = (Share("bob", SharePermission.READ),)
    await change(world.other.storage, second, access_level=AccessLevel.SHARED, shared_with=shared)

    assert await world.near(scope(Visibility("eve", "acme"))) == [3]
    assert await world.near(scope(BOB)) == [2]


async def test_a_memory_that_expires_is_left_out_from_that_moment_on(world: World) -> None:
    soon = new(memory(expires_at=NOON + timedelta(hours=1)), vector=EAST)
    await store(world.storage, soon, new(memory(), vector=NORTH))
    assert await world.known(scope()) == [1, 2]
    await store(world.other.storage, new(memory(expires_at=NOON + timedelta(minutes=1)), vector=EAST))
    assert await world.near(scope()) == [1, 2, 3]

    assert await world.near(scope(at=NOON + timedelta(minutes=2))) == [1, 2]
    assert await world.near(scope(at=NOON + timedelta(hours=2))) == [2]
    assert await world.near(scope(at=NOON + timedelta(hours=2), include_expired=True)) == [1, 2, 3]


async def test_more_changes_than_are_looked_at_make_a_scope_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.scopes.CHANGES", 1)
    await store(world.storage, new(memory(), vector=EAST))
    assert await world.known(scope()) == [1]
    await store(world.other.storage, *(new(memory(), vector=EAST) for _ in range(3)))

    assert await world.near(scope()) == [1, 2, 3, 4]


async def test_changes_that_are_dropped_from_the_log_make_a_scope_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.scopes.LOGGED", 2)
    await store(world.storage, new(memory(), vector=EAST))
    assert await world.known(scope()) == [1]
    await store(world.other.storage, *(new(memory(), vector=EAST) for _ in range(3)))
    assert await world.known(scope(ADA)) == [1, 2, 3, 4]

    assert await world.near(scope()) == [1, 2, 3, 4]


async def test_after_a_long_silence_everything_may_have_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(world.storage, *(new(memory(), vector=EAST) for _ in range(2)))
    assert await world.known(scope()) == [1, 2]
    first, _ = await all_of(world.storage)
    async with world.other.storage.write() as unit:
        await unit.changes.delete(first)
    with behind(world.url) as connection:
        connection.execute("DELETE FROM memory_edits")
    monkeypatch.setattr("tmws_adapters.postgres.kept.TRUSTED", 0.0)

    assert await world.near(scope()) == [2]


async def test_edits_are_told_of_for_a_day(world: World) -> None:
    await store(world.storage, *(new(memory()) for _ in range(2)))
    for each in await all_of(world.storage):
        await change(world.storage, each, importance=0.9)
    with behind(world.url) as connection:
        connection.execute("UPDATE memory_edits SET edited_at = edited_at - interval '2 days' WHERE document = 1")

    await forget_edits(world.other.storage._connections)  # noqa: SLF001 - nobody else has them

    with behind(world.url) as connection:
        assert connection.execute("SELECT document FROM memory_edits").fetchall() == [(2,)]


async def test_a_vector_that_comes_is_no_edit(world: World) -> None:
    await store(world.storage, new(memory()))
    async with world.storage.write() as unit:
        await unit.changes.put_vectors({1: EAST})

    with behind(world.url) as connection:
        assert connection.execute("SELECT document FROM memory_edits").fetchall() == []


async def test_words_find_what_has_no_vector_in_a_scope_that_is_remembered(world: World) -> None:
    await store(world.storage, *(new(memory(content=f"apple {number}"), vector=EAST) for number in range(3)))
    await world.known(scope(tags_any=()))
    await store(world.other.storage, new(memory(content="apple without a vector")))

    assert [hit.document for hit in await world.matching(scope(), "apple")] == [3, 2, 1, 4]


async def test_words_do_without_what_is_remembered_where_much_has_no_vector(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.kept.FEW", 1)
    await store(world.storage, new(memory(content="apple"), vector=EAST))
    await world.known(scope())
    await store(world.other.storage, *(new(memory(content="apple")) for _ in range(3)))

    assert sorted(hit.document for hit in await world.matching(scope(), "apple")) == [1, 2, 3, 4]


@pytest.mark.parametrize("sent", [0, 2000])
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_others_do_the_same_is_found_as_without_memory(
    world: World, seed: int, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.lexical.SENT", sent)
    chance = random.Random(seed)
    await store(world.storage, *(new(some(chance), vector=somewhere(chance)) for _ in range(30)))
    for wanted in SCOPES.values():
        await world.known(wanted)
    for _ in range(25):
        await chance.choice(CHANGES)(world.other.storage, chance)
        wanted = SCOPES[chance.choice(list(SCOPES))]

        async with world.storage.read() as snapshot:
            assert await world.near(wanted) == (await snapshot.memories.searchable(wanted)).documents.tolist()
        assert await world.matching(wanted) == await world.other.lexical.search(wanted, WORDS, 100)


def some(chance: random.Random) -> Memory:
    """Return some memory."""
    return memory(
        content=" ".join(chance.choices(WORDS, k=5)),
        agent_id=chance.choice(("ada", "bob")),
        namespace=chance.choice(("acme", "umbrella")),
        access_level=chance.choice((AccessLevel.PRIVATE, AccessLevel.TEAM, AccessLevel.PUBLIC)),
        memory_type=chance.choice((MemoryType.WORKING, MemoryType.SEMANTIC)),
        importance=chance.random(),
        tags=("ripe",) if chance.random() < 0.5 else (),
        session_id=chance.choice(("s1", None)),
    )


def somewhere(chance: random.Random) -> Vector:
    return vector(*(chance.gauss() for _ in range(4)))


async def add(storage: Storage, chance: random.Random) -> None:
    await store(storage, new(some(chance), vector=somewhere(chance) if chance.random() < 0.7 else None))


async def embed(storage: Storage, chance: random.Random) -> None:
    async with storage.write() as unit:
        waiting = await unit.memories.unembedded(5)
        await unit.changes.put_vectors({each.document: somewhere(chance) for each in waiting})


async def delete(storage: Storage, chance: random.Random) -> None:
    async with storage.write() as unit:
        await unit.changes.delete(chance.choice(await all_of(storage)))


async def edit(storage: Storage, chance: random.Random) -> None:
    other, former = some(chance), chance.choice(await all_of(storage))
    fields = chance.choice(
        (
            {"importance": other.importance},
            {"tags": other.tags},
            {"memory_type": other.memory_type},
            {"access_level": other.access_level},
            {"content": other.content},
            {"superseded_at": NOON},
            {"expires_at": NOON},
            {"access_level": AccessLevel.SHARED, "shared_with": (Share("bob", SharePermission.READ),)},
        )
    )
    await change(storage, former, **({"shared_with": ()} | fields if "access_level" in fields else fields))


CHANGES: tuple[Callable[[Storage, random.Random], Awaitable[None]], ...] = (add, embed, delete, edit, edit, edit)


def test_a_scope_is_forgotten_at_the_moment_at_which_its_first_member_expires() -> None:
    scopes = Scopes()
    wanted = scope(at=NOON)
    for each in (wanted, scope(include_expired=True)):
        scopes.keep(each, Members(array("q", [1]), NOON, scopes.place))
    assert scopes.find(scope(at=NOON - timedelta(seconds=1))) is not None
    assert scopes.find(wanted) is None
    assert scopes.find(scope(include_expired=True)) is not None


def test_what_was_asked_before_all_was_forgotten_is_not_remembered_afterwards() -> None:
    scopes = Scopes()
    asked = scopes.place
    scopes.forget()
    scopes.keep(scope(), Members(array("q", [1]), None, asked))
    assert scopes.find(scope()) is None
    scopes.keep(scope(), Members(array("q", [1]), None, scopes.place))
    assert scopes.find(scope()) is not None


A, B, C = scope(namespace="a"), scope(namespace="b"), scope(namespace="c")


def members(count: int, place: int = 0) -> Members:
    return Members(array("q", range(count)), None, place)


def remembered(scopes: Scopes) -> list[Scope]:
    return [each for each in (A, B, C) if scopes.find(each)]


def test_of_scopes_that_were_asked_for_the_latest_are_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.scopes.ASKED", 2)
    scopes = Scopes()
    assert [scopes.wanted_again(each) for each in (A, A, B, A, C, B)] == [False, True, False, True, False, False]
    assert [scopes.wanted_again(each) for each in (C, A, attrs.evolve(A, historic=True))] == [True, False, False]


def test_scopes_are_remembered_up_to_a_size_each_and_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("LARGEST", 3), ("TOGETHER", 6)):
        monkeypatch.setattr(f"tmws_adapters.postgres.scopes.{name}", most)
    scopes = Scopes()
    for wanted, count in ((A, 3), (B, 3), (C, 4)):
        scopes.keep(wanted, members(count))
    assert scopes.find(A) is not None
    assert remembered(scopes) == [A, B]
    assert scopes.find(A) is not None
    scopes.keep(C, members(1))
    assert remembered(scopes) == [A, C]
    scopes.keep(A, members(4))
    assert remembered(scopes) == [C]


def test_a_scope_is_forgotten_when_more_has_changed_than_is_looked_at_or_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("CHANGES", 3), ("LOGGED", 4)):
        monkeypatch.setattr(f"tmws_adapters.postgres.scopes.{name}", most)
    scopes = Scopes()
    scopes.keep(A, members(1))
    scopes.note([7, 8, 7])
    assert scopes.find(A) == (members(1), {7, 8})
    scopes.note([9])
    assert scopes.find(A) is None
    monkeypatch.setattr("tmws_adapters.postgres.scopes.CHANGES", 9)
    scopes.keep(A, members(1, 1))
    scopes.keep(B, members(1, 3))
    scopes.note([10])
    assert scopes.place == 5
    assert scopes.find(A) is None
    assert scopes.find(B) == (members(1, 3), {9, 10})
