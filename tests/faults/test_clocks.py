"""A clock that steps back, forth and back again: nothing is refused, hidden or doubled by it."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tests.faults.journal import Journal, check, everything, note, settings_of
from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import Settings
from tmws_adapters.system import SystemIds
from tmws_core.app import App
from tmws_core.messages.memory import CreateMemory, GetMemory, ListMemories, UpdateMemory
from tmws_core.messages.search import SearchMemories

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)

STEPS = 60


@attrs.define
class UnsteadyClock:
    """A clock that somebody sets; durations are not measured with it."""

    time: datetime = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return time.perf_counter()


@asynccontextmanager
async def service(settings: Settings, clock: UnsteadyClock) -> AsyncIterator[App]:
    async with open_parts(settings) as parts:
        yield compose(settings, attrs.evolve(parts, clock=clock, ids=SystemIds(clock)))


@pytest.fixture
def settings(home: Path, embedding: dict[str, str]) -> Settings:
    boosts = {"TMWS_SEARCH_RECENCY": "0.2", "TMWS_SEARCH_IMPORTANCE": "0.2"}
    return settings_of(home, **embedding, **boosts)


async def test_a_clock_that_jumps_refuses_hides_and_doubles_nothing(settings: Settings, chance: random.Random) -> None:
    clock, caller, journal = UnsteadyClock(), settings.operator(), Journal()
    order = []
    async with service(settings, clock) as app:
        for number in range(STEPS):
            clock.time += timedelta(seconds=chance.choice([1, 0, -1, 60, -60, -7200, 86400, -86400]))
            content = note("clock", number)
            created = await app.call(caller, CreateMemory(content=content))
            journal.acknowledge(created.memory_id, content)
            order.append(created.memory_id)
            hits = (await app.call(caller, SearchMemories(query=content))).results
            assert created.memory_id in [hit.memory_id for hit in hits]
            assert all(0 <= hit.score <= 1 for hit in hits)
            newest = await app.call(caller, ListMemories(limit=1))
            assert [memory.memory_id for memory in newest.memories] == [created.memory_id]
        assert list(await everything(app, settings)) == order == sorted(set(order))

    assert await check(settings, journal, journal.entries.values(), chance) == 0


async def test_pages_hold_every_memory_once_though_a_restart_has_set_the_clock_back(
    settings: Settings, chance: random.Random
) -> None:
    clock, caller, journal = UnsteadyClock(), settings.operator(), Journal()
    for restart in range(4):
        clock.time -= timedelta(hours=chance.randrange(1, 1000))
        async with service(settings, clock) as app:
            for number in range(40):
                clock.time += timedelta(milliseconds=chance.randrange(3))
                content = note(f"restart{restart}", number)
                created = await app.call(caller, CreateMemory(content=content))
                journal.acknowledge(created.memory_id, content)
            assert await everything(app, settings) == journal.entries

    assert await check(settings, journal, journal.entries.values(), chance) == 0


async def test_a_memory_that_was_written_in_the_future_can_be_read_changed_and_found(settings: Settings) -> None:
    clock, caller = UnsteadyClock(), settings.operator()
    async with service(settings, clock) as app:
        created = await app.call(caller, CreateMemory(content="The key lies under the stone."))
        clock.time -= timedelta(days=400)
        changed = UpdateMemory(memory_id=created.memory_id, content="The key hangs in the shed.", expected_version=1)
        await app.call(caller, changed)
        found = await app.call(caller, GetMemory(memory_id=created.memory_id, include_history=True))
        assert [former.content for former in found.history or ()] == ["The key lies under the stone."]
        assert found.memory.updated_at == found.memory.created_at == NOW
        for past in (None, NOW):
            request = SearchMemories(query="Where is the key?", as_of=past)
            hits = (await app.call(caller, request)).results
            assert [hit.memory_id for hit in hits] == [created.memory_id]


async def test_the_same_text_and_the_same_key_stay_one_memory_though_the_clock_was_set_back(settings: Settings) -> None:
    clock, caller = UnsteadyClock(), settings.operator()
    async with service(settings, clock) as app:
        first = await app.call(caller, CreateMemory(content="Once.", idempotency_key="key"))
        clock.time -= timedelta(days=1)
        again = await app.call(caller, CreateMemory(content="Once.", idempotency_key="key"))
        same = await app.call(caller, CreateMemory(content="Once."))
        assert {again.memory_id, same.memory_id, same.duplicate_of} == {first.memory_id}
