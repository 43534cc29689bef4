"""The planner in any order of events."""

from array import array
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.derived import MemoryIndex
from tests.contracts.planned import PRIVATE, PUBLIC, TEAM, Watched, World, assert_found, documents, open_world
from tmws_adapters.chroma import open_chroma
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.index import DerivedIndex

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 60), st.sampled_from([TEAM, PRIVATE, PUBLIC])),
        st.tuples(st.just("delete"), st.integers(1, 30), st.integers(0, 100)),
        st.tuples(st.just("retell"), st.integers(1, 10), st.integers(0, 100)),
        st.tuples(st.just("hand over"), st.integers(1, 30), st.sampled_from([TEAM, PUBLIC])),
        st.tuples(st.just("settle")),
        st.tuples(st.just("lose"), st.sampled_from(["acme|team", "acme|open"])),
        st.tuples(st.just("break"), st.booleans()),
        st.tuples(st.just("search"), st.sampled_from([1.0, 0.7, 0.35, 0.05, 0.001]), st.integers(1, 30)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps)
def test_whatever_happens_every_search_is_exact(steps: list[tuple[object, ...]]) -> None:
    async def run() -> None:
        with TemporaryDirectory() as path:
            derived = MemoryIndex()
            async with open_world(Path(path), derived) as world:
                for step in [*steps, ("break", False), ("settle",), ("search", 1.0, 10)]:
                    await take(world, derived, step)

    anyio.run(run)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps, room=st.integers(1, 90))
def test_an_index_with_little_room_never_holds_more_and_every_search_is_exact(
    steps: list[tuple[object, ...]], room: int
) -> None:
    async def run() -> None:
        with TemporaryDirectory() as path:
            derived = Watched()
            async with open_world(Path(path), derived, room=room) as world:
                for step in [*steps, ("break", False), ("settle",), ("search", 1.0, 10)]:
                    await take(world, derived, step)
            assert derived.most <= room

    anyio.run(run)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps)
def test_whatever_happens_every_search_over_chroma_finds_the_nearest(steps: list[tuple[object, ...]]) -> None:
    async def run() -> None:
        with TemporaryDirectory() as path:
            async with (
                open_chroma(directory=Path(path) / "chroma", url=None) as derived,
                open_world(Path(path), derived) as world,
            ):
                for step in [*steps, ("settle",), ("search", 1.0, 10)]:
                    await take(world, derived, step)

    anyio.run(run)


async def take(world: World, derived: DerivedIndex, step: tuple[object, ...]) -> None:
    match step:
        case ("add", int(count), AccessLevel() as level):
            await world.add(count, level)
        case ("delete", int(count), int(start)):
            await world.delete((await world.memories())[start : start + count])
        case ("retell", int(count), int(start)):
            for each in (await world.memories())[start : start + count]:
                await world.change([each], content=f"{each.content} again")
        case ("hand over", int(count), AccessLevel() as level):
            await world.change((await world.memories())[:count], access_level=level)
        case ("settle",) if not isinstance(derived, MemoryIndex) or not derived.broken:
            await world.settled()
        case ("lose", str(partition)) if isinstance(derived, MemoryIndex):
            # Nothing is coming in: what is lost between two batches of a look is noticed at the end of that look.
            with suppress(IndexUnavailable):
                await world.index.follower.catch_up()
            derived.held.pop(partition, None)
            # A search notices; so does the follower, but half a minute later.
            assert documents(await world.search()) == await world.best(await world.allowed())
        case ("break", bool(broken)) if isinstance(derived, MemoryIndex):
            derived.broken = broken
        case ("search", float(share), int(limit)):
            everything = (await world.allowed()).tolist()
            count = int(len(everything) * share)
            allowed = array("q", sorted(world.random.permutation(np.array(everything, np.int64))[:count].tolist()))
            await assert_found(world, await world.search(allowed, limit), allowed, limit)
        case _:
            return
