"""An approximate index answers only where it has proven to find what an exact search finds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.builders import searchable
from tests.contracts.planned import PRIVATE, QUERY, Watched, World, documents, open_world
from tmws_core.ports.vector import Nearest

pytestmark = pytest.mark.anyio


@pytest.fixture
def derived() -> Watched:
    return Watched()


@pytest.fixture
async def world(tmp_path: Path, derived: Watched) -> AsyncIterator[World]:
    async with open_world(tmp_path, derived, recall=0.99) as opened:
        await opened.add(300)
        await opened.settled()
        yield opened


async def searches(world: World, count: int) -> list[Nearest]:
    allowed = await world.allowed()
    return [await world.index.search(searchable(allowed), QUERY, 10) for _ in range(count)]


def by_index(found: list[Nearest]) -> int:
    return sum(nearest.source == "memory" for nearest in found)


async def test_a_partition_answers_after_fifty_searches_have_shown_that_it_finds_all(world: World) -> None:
    trial, later = await searches(world, 50), await searches(world, 100)

    assert by_index(trial) == 0
    assert by_index(later) == 98
    best = await world.best(await world.allowed())
    assert all(documents(nearest) == best for nearest in [*trial, *later])


async def test_a_partition_that_misses_too_much_never_answers(world: World, derived: Watched) -> None:
    missed = (await world.best(await world.allowed()))[4]
    derived.misses = missed

    found = await searches(world, 150)

    assert by_index(found) == 0
    best = await world.best(await world.allowed())
    assert all(documents(nearest) == best for nearest in found)


async def test_a_partition_that_begins_to_miss_is_found_out(world: World, derived: Watched) -> None:
    await searches(world, 60)
    derived.misses = 2

    await searches(world, 150)

    assert by_index(await searches(world, 20)) == 0


async def test_a_partition_that_has_grown_has_to_prove_itself_again(world: World) -> None:
    await searches(world, 51)
    await world.add(30)
    await world.settled()
    assert by_index(await searches(world, 10)) == 10
    await world.add(100)
    await world.settled()

    assert by_index(await searches(world, 50)) == 0
    assert by_index(await searches(world, 10)) == 10


async def test_each_partition_is_judged_by_its_own_hits(world: World, derived: Watched) -> None:
    await world.add(300, PRIVATE)
    await world.settled()
    everything = await world.allowed()
    team, private = everything[:300], everything[300:]
    derived.misses = (await world.best(private))[0]
    for _ in range(150):
        await world.index.search(searchable(everything), QUERY, 30)

    assert (await world.index.search(searchable(team), QUERY, 10)).source == "memory"
    assert (await world.index.search(searchable(private), QUERY, 10)).source == "exact"


async def test_equally_near_documents_may_stand_for_each_other(tmp_path: Path, derived: Watched) -> None:
    async with open_world(tmp_path, derived, recall=0.99) as world:
        await world.add_equal(60)
        await world.settled()
        derived.misses = 59
        await searches(world, 50)

        assert by_index(await searches(world, 10)) == 10
