"""A search beside changes of what it finds."""

from collections.abc import Awaitable, Callable, Sequence

import attrs
import pytest

from tests.services.conftest import World
from tmws_adapters.bootstrap import compose, open_parts
from tmws_core.aside import aside
from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit
from tmws_core.messages.memory import CreateMemory, DeleteMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories, SearchMode
from tmws_core.ports.lexical import LexicalIndex
from tmws_core.services.recall import TRIES

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Overtaken:
    """A lexical index: what it finds is changed before anybody can look at it, so many `times`."""

    inner: LexicalIndex
    change: Callable[[], Awaitable[object]]
    times: int = 0
    searches: int = 0

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        hits = await self.inner.search(scope, terms, limit)
        self.searches += 1
        if self.searches <= self.times:
            await self.change()
        return hits


@pytest.mark.parametrize(("times", "searches"), [(0, 1), (1, 2), (TRIES - 1, TRIES), (TRIES, TRIES)])
@pytest.mark.parametrize("mode", [SearchMode.LEXICAL, SearchMode.HYBRID])
async def test_a_text_that_changes_while_it_is_looked_for_is_found(
    world: World, mode: SearchMode, times: int, searches: int
) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="The heron waits at the quay."))

    async def change() -> None:
        update = UpdateMemory(memory_id=created.memory_id, content=f"The heron has waited {index.searches} times.")
        await world.app.call(athena, update)

    async with open_parts(world.settings) as parts:
        index = Overtaken(parts.lexical, change, times)
        app = compose(world.settings, attrs.evolve(parts, lexical=index))
        found = await app.call(athena, SearchMemories(query="heron", mode=mode))
    assert [hit.memory_id for hit in found.results] == ([created.memory_id] if times < TRIES else [])
    assert index.searches == searches


async def test_what_is_deleted_while_it_is_looked_for_is_not_found(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="The heron waits at the quay."))

    async def delete() -> None:
        await world.app.call(athena, DeleteMemory(memory_id=created.memory_id))

    async with open_parts(world.settings) as parts:
        index = Overtaken(parts.lexical, delete, times=1)
        app = compose(world.settings, attrs.evolve(parts, lexical=index))
        assert not (await app.call(athena, SearchMemories(query="heron"))).results
    assert index.searches == 2


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_text_of_the_past_is_that_of_the_moment_whatever_comes_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, *, is_deleted: bool
) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="The heron waits."))
    moment = world.app.now()
    if is_deleted:
        await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content="The heron has left."))

    async def overtaken(work: Callable[[], object], *, long: bool) -> object:
        meanwhile = UpdateMemory(memory_id=created.memory_id, content="The heron is back.")
        await world.app.call(athena, DeleteMemory(memory_id=created.memory_id) if is_deleted else meanwhile)
        return await aside(work, long=long)

    monkeypatch.setattr("tmws_core.services.recall.aside", overtaken)
    found = await world.app.call(athena, SearchMemories(query="heron", as_of=moment))
    assert [hit.content for hit in found.results] == ([] if is_deleted else ["The heron waits."])
