"""An index with limited room holds the newest documents, and what it leaves out is found exactly."""

from array import array
from itertools import pairwise
from pathlib import Path

import pytest

from tests.contracts.planned import PRIVATE, PUBLIC, Watched, assert_found, documents, open_world
from tmws_adapters.chroma import open_chroma
from tmws_adapters.partitioned.hottest import hottest

pytestmark = pytest.mark.anyio


async def test_the_newest_are_in_the_index_and_the_older_ones_found_too(tmp_path: Path) -> None:
    derived = Watched()
    async with open_world(tmp_path, derived, room=40) as world:
        await world.add(100)
        await world.settled()

        nearest = await world.search(limit=100)

        assert sorted(derived.held["acme|team"]) == list(range(61, 101))
        assert nearest.source == "memory"
        assert documents(nearest) == await world.best(await world.allowed(), 100)


async def test_chroma_with_little_room_finds_all(tmp_path: Path) -> None:
    async with (
        open_chroma(directory=tmp_path / "chroma", url=None) as derived,
        open_world(tmp_path, derived, room=200) as world,
    ):
        await world.add(300)
        await world.settled()

        nearest = await world.search(limit=30)

        assert 196 <= len(await derived.documents("acme|team")) <= 200
        assert nearest.source == "chroma"
        await assert_found(world, nearest, await world.allowed(), 30)


async def test_new_documents_push_out_old_ones_and_deleted_ones_let_them_in_again(tmp_path: Path) -> None:
    derived = Watched()
    async with open_world(tmp_path, derived, room=40) as world:
        await world.add(50)
        await world.settled()
        await world.add(20)
        await world.settled()
        assert sorted(derived.held["acme|team"]) == list(range(31, 71))

        await world.delete((await world.memories())[-15:])
        await world.settled()

        assert sorted(derived.held["acme|team"]) == list(range(16, 56))
        assert derived.most == 40
        assert documents(await world.search(limit=55)) == await world.best(await world.allowed(), 55)


async def test_the_room_is_shared_by_all_partitions(tmp_path: Path) -> None:
    derived = Watched()
    async with open_world(tmp_path, derived, room=60) as world:
        await world.add(50, PRIVATE)
        await world.add(35, PUBLIC)
        await world.settled()

        assert {name: len(held) for name, held in derived.held.items()} == {"acme|private|ada": 25, "acme|open": 35}
        assert documents(await world.search(limit=85)) == await world.best(await world.allowed(), 85)


async def test_what_is_left_of_a_partition_has_to_be_worth_it(tmp_path: Path) -> None:
    derived = Watched()
    async with open_world(tmp_path, derived, room=45) as world:
        await world.add(50, PRIVATE)
        await world.add(35, PUBLIC)
        await world.settled()

        # Of the private ones 10 would fit beside the others.
        assert {name: len(held) for name, held in derived.held.items()} == {"acme|open": 35}


async def test_the_standing_tells_the_room_if_it_is_limited(tmp_path: Path) -> None:
    async with open_world(tmp_path, Watched(), room=40) as world:
        await world.add(100)
        await world.settled()

        standing = await world.index.follower.standing()

        assert standing.index.parameters == {"cache_size": 40}
        assert (standing.index.partitions, standing.waiting) == ({"acme|team": 40}, 0)
        assert await world.index.follower.due() == 40
    async with open_world(tmp_path, Watched()) as world:
        assert (await world.index.follower.standing()).index.parameters == {}


def test_a_stream_of_documents_seldom_moves_the_oldest_in_the_index() -> None:
    oldest = set()
    for newest in range(2001, 2101):
        held = hottest({"a": array("q", range(1, newest))}, 1000, lambda _: 1)["a"]
        assert 980 < len(held) <= 1000
        oldest.add(held[0])

    assert len(oldest) <= 100 / 20 + 1


async def test_after_a_search_filling_leaves_most_of_the_time_to_others(tmp_path: Path) -> None:
    derived = Watched(busy=0.004)
    async with open_world(tmp_path, derived) as world:
        await world.search()
        await world.add(200)
        await world.settled()

        rests = [began - ended for ended, began in zip(derived.ended, derived.began[1:], strict=False)]
        assert len(rests) >= 5
        assert min(rests) >= 5 * derived.busy


async def test_without_searches_filling_does_not_rest(tmp_path: Path) -> None:
    derived = Watched(busy=0.004)
    async with open_world(tmp_path, derived) as world:
        await world.add(1000)
        await world.settled()

        starts = [later - earlier for earlier, later in pairwise(derived.began)]
        assert sorted(starts)[len(starts) // 2] < 5 * derived.busy
