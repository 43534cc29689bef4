"""The planner: every search is right, whichever way it goes, and the index follows the store."""

from array import array
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tests.contracts.builders import MODEL, memory, new
from tests.contracts.derived import MemoryIndex
from tests.contracts.planned import (
    COSTS,
    PRIVATE,
    PUBLIC,
    QUERY,
    TEAM,
    World,
    assert_found,
    documents,
    open_world,
    until,
)
from tmws_adapters.chroma import open_chroma
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.embedding import EmbeddingModel
from tmws_core.errors import IndexUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def derived() -> MemoryIndex:
    return MemoryIndex()


@pytest.fixture
async def world(tmp_path: Path, derived: MemoryIndex) -> AsyncIterator[World]:
    async with open_world(tmp_path, derived) as opened:
        yield opened


@pytest.fixture(params=["memory", "chroma"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "memory":
        async with open_world(tmp_path, MemoryIndex()) as opened:
            yield opened
    else:
        async with open_chroma(directory=tmp_path / "chroma", url=None) as index, open_world(tmp_path, index) as opened:
            yield opened


async def test_a_small_set_is_searched_exactly(world: World) -> None:
    await world.add(30)
    await world.settled()

    few = (await world.allowed())[:20]

    nearest = await world.search(few)
    assert (nearest.source, nearest.degraded) == ("exact", None)
    assert documents(nearest) == await world.best(few)


async def test_a_large_set_is_answered_by_the_index(either: World) -> None:
    await either.add(300)
    await either.settled()

    nearest = await either.search()

    assert (nearest.source, nearest.degraded) == (either.derived.source, None)
    await assert_found(either, nearest, await either.allowed(), 10)


@pytest.mark.parametrize(("share", "by_index"), [(1.0, True), (0.5, True), (0.1, True), (0.03, True), (0.001, False)])
async def test_any_share_of_the_documents_is_found_in_full(either: World, share: float, by_index: bool) -> None:  # noqa: FBT001 - pytest passes by name
    for level in (TEAM, PRIVATE, PUBLIC):
        await either.add(1000, level)
    await either.settled()
    everything = (await either.allowed()).tolist()
    chosen = either.random.choice(everything, int(len(everything) * share), replace=False)
    allowed = array("q", sorted(chosen.tolist()))

    nearest = await either.search(allowed)

    assert nearest.source == (either.derived.source if by_index else "exact")
    await assert_found(either, nearest, allowed, 10)


async def test_allowed_documents_far_from_the_query_are_found_by_widening(world: World) -> None:
    await world.add(1000)
    await world.settled()
    everything = await world.allowed()
    farthest = array("q", sorted((await world.best(everything, 1000))[-30:]))

    nearest = await world.search(farthest)

    assert nearest.source == "memory"
    assert documents(nearest) == await world.best(farthest)


async def test_widening_gives_way_to_an_exact_search_that_is_cheaper(tmp_path: Path, derived: MemoryIndex) -> None:
    async with open_world(tmp_path, derived, attrs.evolve(COSTS, candidate=0.1)) as world:
        await world.add(1500)
        await world.settled()
        farthest = array("q", sorted((await world.best(await world.allowed(), 1500))[-60:]))

        nearest = await world.search(farthest, 1)

        assert nearest.source == "exact"
        assert documents(nearest) == await world.best(farthest, 1)


async def test_a_memory_is_found_before_the_index_has_it(world: World, derived: MemoryIndex) -> None:
    await world.add(30)
    await world.settled()
    derived.patience = 0
    await world.add(1)

    allowed = await world.allowed()

    assert documents(await world.search(allowed, 31)) == await world.best(allowed, 31)


async def test_equally_near_documents_come_newest_first(world: World) -> None:
    async with world.storage.write() as unit:
        await unit.use_model(MODEL)
        await unit.changes.add([new(memory(access_level=TEAM), vector=QUERY) for _ in range(30)])
    await world.settled()

    assert documents(await world.search(limit=3)) == [30, 29, 28]


async def test_a_document_that_moves_during_a_search_is_found(world: World, derived: MemoryIndex) -> None:
    await world.add(30)
    await world.settled()
    allowed = await world.allowed()
    first = await world.best(allowed, 1)
    coverage = world.index.follower.coverage

    def move() -> None:
        assert coverage is not None
        coverage.take("acme|team", first)
        derived.held["acme|team"].pop(first[0], None)

    derived.meanwhile = move

    nearest = await world.search(allowed)

    assert nearest.source == "memory"
    assert documents(nearest) == await world.best(allowed)


async def test_while_the_index_is_down_searches_are_exact_and_say_so(world: World, derived: MemoryIndex) -> None:
    await world.add(30)
    await world.settled()
    derived.broken = True

    nearest = await world.search()

    assert nearest.source == "sqlite_fallback"
    assert nearest.degraded == "memory: is broken. Mend it"
    assert documents(nearest) == await world.best(await world.allowed())
    with pytest.raises(IndexUnavailable, match="broken"):
        await world.index.health()


async def test_an_index_that_comes_back_answers_again(world: World, derived: MemoryIndex) -> None:
    derived.broken = True
    await world.add(30)
    assert (await world.search()).source in ("exact", "sqlite_fallback")
    derived.broken = False

    await world.settled()

    assert (await world.search()).source == "memory"


async def test_changes_that_fail_half_way_are_made_again(world: World, derived: MemoryIndex) -> None:
    derived.patience = 50
    await world.add(100)
    await until_failed(world)
    derived.patience = None

    await world.settled()

    nearest = await world.search()
    assert documents(nearest) == await world.best(await world.allowed())


async def until_failed(world: World) -> None:
    async def failed() -> bool:
        try:
            await world.index.health()
        except IndexUnavailable:
            return True
        return False

    await until(failed)


async def test_an_index_that_lost_documents_without_a_word_is_filled_again(world: World, derived: MemoryIndex) -> None:
    await world.add(100)
    await world.settled()
    derived.held["acme|team"].clear()

    assert documents(await world.search()) == await world.best(await world.allowed())

    await world.settled()
    assert len(derived.held["acme|team"]) == 100


async def test_what_a_former_run_left_in_the_index_is_kept(tmp_path: Path, derived: MemoryIndex) -> None:
    async with open_world(tmp_path, derived) as world:
        await world.add(60)
        await world.settled()
        gone = (await world.memories())[:3]
    async with open_sqlite(tmp_path / "tmws.db", synchronous="NORMAL") as store, store.storage.write() as unit:
        for each in gone:
            await unit.changes.delete(each)
    async with open_world(tmp_path, derived) as world:
        await world.settled()

        assert derived.resets == 1
        assert documents(await world.search()) == await world.best(await world.allowed())


async def test_an_index_for_another_model_is_begun_anew(tmp_path: Path, derived: MemoryIndex) -> None:
    derived.model = EmbeddingModel(name="tests/other", dimension=4)
    derived.held = {"acme|team": {1: QUERY}, "old": {7: QUERY}}
    async with open_world(tmp_path, derived) as world:
        await world.add(30)
        await world.settled()

    assert derived.model == MODEL
    assert {name: len(held) for name, held in derived.held.items()} == {"acme|team": 30}


async def test_a_partition_stays_until_it_has_shrunk_by_half(world: World, derived: MemoryIndex) -> None:
    await world.add(40)
    await world.settled()
    memories = await world.memories()

    await world.delete(memories[:25])
    await until_held(derived, {"acme|team": 15})
    await world.delete(memories[25:35])
    await until_held(derived, {})


async def until_held(derived: MemoryIndex, counts: dict[str, int]) -> None:
    async def held() -> bool:
        return {name: len(documents) for name, documents in derived.held.items()} == counts

    await until(held)


async def test_memories_that_change_hands_move_to_another_partition(world: World, derived: MemoryIndex) -> None:
    await world.add(50)
    await world.add(30, PUBLIC)
    await world.settled()

    await world.change((await world.memories())[:10], access_level=PUBLIC)

    await until_held(derived, {"acme|team": 40, "acme|open": 40})
    assert documents(await world.search(limit=80)) == await world.best(await world.allowed(), 80)


async def test_a_small_store_leaves_the_index_alone(world: World, derived: MemoryIndex) -> None:
    await world.add(10)
    await until_seen(world)

    assert derived.model is None


async def until_seen(world: World) -> None:
    async def seen() -> bool:
        return world.index.follower.coverage is not None

    await until(seen)


async def test_right_after_the_start_searches_are_exact_and_the_index_is_not_touched(
    tmp_path: Path, derived: MemoryIndex
) -> None:
    async with open_world(tmp_path, derived) as world:
        await world.add(30)
    async with open_world(tmp_path, derived, interval=timedelta(hours=1)) as world:
        nearest = [await world.search() for _ in range(20)][-1]

        assert (nearest.source, nearest.degraded) == ("exact", None)
        assert documents(nearest) == await world.best(await world.allowed())
        assert not world.index.follower.heard


async def test_health_counts_what_is_indexed(world: World) -> None:
    await world.add(30)
    await world.settled()

    figures = await world.index.health()

    assert (figures["indexed"], figures["waiting"]) == (30, 0)
    assert world.index.source == "memory"
