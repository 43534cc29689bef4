"""Searching the world as it was: every interval holds its first moment, and not its last."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from tests.contracts.ollama_double import OllamaDouble
from tests.services.clock import SettableClock
from tests.services.conftest import World
from tests.stacks import rows
from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.memory import CreateMemory, GetMemory, MemoryView, UpdateMemory
from tmws_core.messages.search import MemoryHit, SearchMemories, SearchMode

pytestmark = pytest.mark.anyio

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
"""The smallest step that the stores tell apart."""


@attrs.frozen
class Timed:
    """An app whose clock the test sets, and an agent that calls it."""

    app: App
    clock: SettableClock
    settings: Settings

    @property
    def athena(self) -> Caller:
        return self.settings.agent()

    async def create(self, content: str, **fields: datetime) -> str:
        return (await self.app.call(self.athena, CreateMemory(content=content, **fields))).memory_id  # type: ignore[arg-type]  # times only

    async def update(self, memory_id: str, hours: float, request: UpdateMemory) -> None:
        """Change a memory so many hours after the beginning."""
        self.clock.time = BEGIN + hours * HOUR
        await self.app.call(self.athena, attrs.evolve(request, memory_id=memory_id))

    async def found(self, query: str, as_of: datetime | None = None) -> list[MemoryHit]:
        return [*(await self.app.call(self.athena, SearchMemories(query=query, as_of=as_of, details=True))).results]

    async def texts(self, query: str, as_of: datetime | None = None) -> list[str]:
        return [hit.content for hit in await self.found(query, as_of)]

    async def read(self, memory_id: str) -> MemoryView:
        return (await self.app.call(self.athena, GetMemory(memory_id=memory_id))).memory


@pytest.fixture
async def timed(settings: Settings) -> AsyncIterator[Timed]:
    clock = SettableClock(BEGIN)
    async with open_parts(settings) as parts:
        yield Timed(compose(settings, attrs.evolve(parts, clock=clock)), clock, settings)


def _change(**fields: object) -> UpdateMemory:
    return UpdateMemory(memory_id="00000000-0000-7000-8000-000000000000", **fields)  # type: ignore[arg-type]  # by name


async def test_a_text_is_shown_from_its_first_moment_to_the_one_before_the_next(timed: Timed) -> None:
    port = await timed.create("The port is 8000.")
    await timed.update(port, 1, _change(importance=0.9))
    await timed.update(port, 2, _change(content="The port is 9000."))
    await timed.update(port, 3, _change(tags=("network",)))
    await timed.update(port, 4, _change(content="The port is 7000."))
    await timed.update(port, 5, _change(importance=0.1))
    for moment, expected in (
        (BEGIN - TICK, []),
        (BEGIN, ["The port is 8000."]),
        (BEGIN + HOUR, ["The port is 8000."]),
        (BEGIN + 2 * HOUR - TICK, ["The port is 8000."]),
        (BEGIN + 2 * HOUR, ["The port is 9000."]),
        (BEGIN + 3 * HOUR, ["The port is 9000."]),
        (BEGIN + 4 * HOUR - TICK, ["The port is 9000."]),
        (BEGIN + 4 * HOUR, ["The port is 7000."]),
        (BEGIN + 6 * HOUR, ["The port is 7000."]),
    ):
        assert await timed.texts("port", moment) == expected, moment


async def test_former_texts_follow_each_other_without_a_gap(timed: Timed) -> None:
    port = await timed.create("The port is 8000.")
    await timed.update(port, 1, _change(importance=0.9))
    await timed.update(port, 2, _change(content="The port is 9000."))
    await timed.update(port, 3, _change(importance=0.1))
    await timed.update(port, 4, _change(content="The port is 7000."))
    request = GetMemory(memory_id=port, include_history=True)
    history = (await timed.app.call(timed.athena, request)).history or ()
    assert [(text.valid_from - BEGIN, text.valid_to - BEGIN) for text in history] == [
        (timedelta(0), 2 * HOUR),
        (2 * HOUR, 4 * HOUR),
    ]


async def test_a_memory_is_found_until_the_moment_at_which_it_expires(timed: Timed) -> None:
    await timed.create("The port is 8000.", expires_at=BEGIN + HOUR)
    for moment, count in ((BEGIN - TICK, 0), (BEGIN, 1), (BEGIN + HOUR - TICK, 1), (BEGIN + HOUR, 0)):
        timed.clock.time = BEGIN + 9 * HOUR
        assert len(await timed.texts("port", moment)) == count, moment
        if moment >= BEGIN:
            timed.clock.time = moment
            assert len(await timed.texts("port")) == count, moment


async def test_a_memory_is_found_until_the_moment_at_which_another_replaces_it(timed: Timed) -> None:
    old = await timed.create("The old port is 8000.")
    timed.clock.time = BEGIN + HOUR
    new = await timed.create("The new port is 9000.")
    await timed.update(old, 2, _change(superseded_by=new))
    for moment, words in (
        (BEGIN, ["old"]),
        (BEGIN + HOUR, ["new", "old"]),
        (BEGIN + 2 * HOUR - TICK, ["new", "old"]),
        (BEGIN + 2 * HOUR, ["new"]),
        (None, ["new"]),
    ):
        assert sorted(text.split()[1] for text in await timed.texts("port", moment)) == words, moment


async def test_a_changed_date_changes_what_the_memory_is_found_by(timed: Timed) -> None:
    hike = await timed.create("We went hiking.", occurred_at=datetime(2023, 5, 8, tzinfo=UTC))
    other = await timed.create("On 8 May 2023, we went home.")
    request = SearchMemories(query="On 8 June 2024, We went hiking.", mode=SearchMode.SEMANTIC, explain=True)
    before = (await timed.app.call(timed.athena, request)).results[0]
    await timed.update(hike, 1, _change(occurred_at=datetime(2024, 6, 8, tzinfo=UTC)))
    after = (await timed.app.call(timed.athena, request)).results[0]
    assert (before.memory_id, after.memory_id) == (hike, hike)
    assert (before.similarity or 0) < 0.99 < (after.similarity or 0)
    await timed.update(hike, 2, _change(occurred_at=None))
    plain = (await timed.app.call(timed.athena, attrs.evolve(request, query="We went hiking."))).results[0]
    assert (plain.memory_id, plain.occurred_at) == (hike, None)
    assert (plain.similarity or 0) > 0.99
    assert await timed.texts("hiking") == ["We went hiking.", "On 8 May 2023, we went home."]
    assert (await timed.read(other)).embedded
    assert rows(timed.settings, "SELECT count(*) FROM memory_history") == [(0,)]


async def test_a_date_changed_while_the_embedder_is_down_waits_for_its_vector(
    world: World, ollama: OllamaDouble
) -> None:
    athena = world.agent("athena")
    hike = await world.app.call(athena, CreateMemory(content="We went hiking."))
    ollama.stop()
    request = UpdateMemory(memory_id=hike.memory_id, occurred_at=datetime(2024, 6, 8, tzinfo=UTC))
    assert not (await world.app.call(athena, request)).embedding_generated
    found = await world.app.call(athena, SearchMemories(query="hiking", details=True))
    assert [hit.embedded for hit in found.results] == [False]
