"""What has no transaction of its own comes into the audit log all the same, and never in anybody's way."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import attrs
import pytest

from tests.contracts.audit_steps import FIRST_DAY, SetClock, auditing, events
from tests.services.conftest import World
from tests.stacks import locked, rows
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_adapters.stores import open_store
from tmws_core.app import App
from tmws_core.domain.agent import READER_PERMISSIONS, Caller
from tmws_core.errors import Forbidden, MemoryNotFound
from tmws_core.messages.memory import (
    CreateMemory,
    DeleteMemory,
    GetMemory,
    GetMemoryStats,
    ListMemories,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories
from tmws_core.ports.audit import AuditFilter
from tmws_core.ports.storage import Storage
from tmws_core.trail import Trail

pytestmark = pytest.mark.anyio

ADA = Caller(agent_id="ada", namespace="acme", transport="python")
READER = attrs.evolve(ADA, permissions=READER_PERMISSIONS, identified=True)

Row = tuple[str, str, dict[str, Any]]


def recorded(settings: Settings) -> list[Row]:
    found = rows(settings, "SELECT event_type, agent_id, details FROM security_audit_logs ORDER BY id")
    return [(event_type, agent_id, json.loads(details)) for event_type, agent_id, details in found]


async def test_reads_are_recorded_with_what_was_read_and_never_with_what_was_asked(settings: Settings) -> None:
    async with open_app(settings) as app:
        created = await app.call(ADA, CreateMemory(content="The rose blooms."))
        await app.call(ADA, SearchMemories(query="my secret rose"))
        await app.call(ADA, GetMemory(memory_id=created.memory_id))
        await app.call(ADA, ListMemories())
        await app.call(ADA, GetMemoryStats())

    assert recorded(settings)[1:] == [
        ("memory.read", "ada", {"operation": "search_memories", "results": 1, "transport": "python"}),
        ("memory.read", "ada", {"operation": "get_memory", "memory_id": created.memory_id, "transport": "python"}),
        ("memory.read", "ada", {"operation": "list_memories", "results": 1, "transport": "python"}),
        ("memory.read", "ada", {"operation": "get_memory_stats", "transport": "python"}),
    ]


async def test_equal_reads_become_one_row_with_their_number(settings: Settings) -> None:
    async with open_app(settings) as app:
        for _ in range(5):
            await app.call(ADA, SearchMemories(query="rose"))
        await app.call(attrs.evolve(ADA, agent_id="grace"), SearchMemories(query="rose"))

    details = {"operation": "search_memories", "results": 0, "transport": "python"}
    assert recorded(settings) == [("memory.read", "ada", {**details, "count": 5}), ("memory.read", "grace", details)]


async def test_refusals_are_recorded_and_what_is_not_there_is_none(settings: Settings) -> None:
    async with open_app(settings) as app:
        with pytest.raises(Forbidden):
            await app.call(READER, CreateMemory(content="A tulip."))
        with pytest.raises(Forbidden):
            await app.call(ADA, GetMemoryStats(agent_id="grace"))
        with pytest.raises(MemoryNotFound):
            await app.call(ADA, GetMemory(memory_id="01890a5d-ac96-774b-bcce-b302099a8057"))

    assert recorded(settings) == [
        (
            "authorization.denied",
            "ada",
            {"operation": "create_memory", "needs": "the permission memory:write", "transport": "python"},
        ),
        (
            "authorization.denied",
            "ada",
            {"operation": "get_memory_stats", "needs": "the right to act for others", "transport": "python"},
        ),
    ]


async def test_acting_for_another_agent_is_recorded_beside_and_within_the_change(settings: Settings) -> None:
    operator = settings.operator()
    async with open_app(settings) as app:
        created = await app.call(operator, CreateMemory(content="A rose.", agent_id="ada"))
        memory_id = created.memory_id
        await app.call(operator, UpdateMemory(memory_id=memory_id, importance=1.0, agent_id="ada"))
        await app.call(operator, ShareMemory(memory_id=memory_id, shared_with=("grace",)))
        await app.call(operator, DeleteMemory(memory_id=memory_id, agent_id="ada"))

    found = recorded(settings)
    changes = {event_type: details.get("acting_for") for event_type, _, details in found if details.get("memory_id")}
    assert changes == {
        "memory.created": "ada",
        "memory.updated": "ada",
        "memory.shared": None,
        "memory.deleted": "ada",
    }
    assert {agent_id for _, agent_id, _ in found} == {operator.agent_id}
    acted = {"acting_for": "ada", "transport": "python", "count": 3}
    assert ("authorization.acted_for", operator.agent_id, acted) in found


async def test_nothing_is_recorded_when_the_log_is_switched_off(settings: Settings) -> None:
    silent = attrs.evolve(settings, audit_log_enabled=False)
    async with open_app(silent) as app:
        await app.call(silent.operator(), CreateMemory(content="A rose.", agent_id="ada"))
        await app.call(ADA, SearchMemories(query="rose"))
        with pytest.raises(Forbidden):
            await app.call(READER, CreateMemory(content="A tulip."))

    assert recorded(silent) == []


async def test_a_read_is_recorded_while_the_service_runs(world: World) -> None:
    await world.app.call(ADA, SearchMemories(query="rose"))
    with anyio.fail_after(60):
        while not recorded(world.settings):
            await anyio.lowlevel.checkpoint()


async def test_reading_goes_on_while_nothing_can_be_written_and_is_recorded_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_core.trail.INTERVAL_SECONDS", 0)
    hasty = attrs.evolve(settings, request_timeout=0.2)
    async with open_app(hasty) as app:
        with locked(hasty, "security_audit_logs", "audit_head"):
            done = await read_for_longer_than_a_transaction_waits(app)
        await app.call(ADA, ListMemories())

    reads = sum(details.get("count", 1) for event_type, _, details in recorded(hasty) if event_type == "memory.read")
    assert reads == done + 1


async def read_for_longer_than_a_transaction_waits(app: App) -> int:
    done, end = 0, anyio.current_time() + 0.5
    while anyio.current_time() < end:
        await app.call(ADA, ListMemories())
        done += 1
    return done


@pytest.fixture
async def storage(settings: Settings) -> AsyncIterator[Storage]:
    async with open_store(attrs.evolve(settings, request_timeout=0.4)) as store:
        yield store.storage


@pytest.fixture
def trail(storage: Storage) -> Trail:
    return Trail(storage=storage, clock=SetClock(), enabled=True)


async def counts(storage: Storage) -> list[tuple[str, int]]:
    found = await auditing(storage).query(AuditFilter(), limit=99)
    return [(each.event_type, json.loads(each.details).get("count", 1)) for each in reversed(found)]


async def test_what_cannot_be_written_is_kept_and_added_up(storage: Storage, trail: Trail, settings: Settings) -> None:
    trail.saw(ADA, "memory.read", results=1)
    with locked(settings, "security_audit_logs", "audit_head"):
        await trail.flush()
        trail.saw(ADA, "memory.read", results=1)
        trail.saw(ADA, "memory.read", results=2)
        await trail.flush()
    await trail.flush()
    await trail.flush()

    assert await counts(storage) == [("memory.read", 2), ("memory.read", 1)]


async def test_more_than_the_bound_are_counted_and_told(
    storage: Storage, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_core.trail.BOUND", 3)
    for number in (0, 1, 2, 3, 4, 2):
        trail.saw(ADA, "memory.read", results=number)

    await trail.flush()

    read = "memory.read"
    assert await counts(storage) == [(read, 1), (read, 1), (read, 2), ("audit.dropped", 2)]


async def test_what_happened_at_several_times_has_the_time_of_the_first(storage: Storage) -> None:
    clock = SetClock()
    trail = Trail(storage=storage, clock=clock, enabled=True)
    for _ in range(3):
        trail.saw(ADA, "memory.read")
        clock.time += timedelta(days=1)
    await trail.flush()

    (record,) = await auditing(storage).query(AuditFilter(), limit=9)
    assert record.timestamp == FIRST_DAY.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_what_is_being_written_when_the_service_ends_is_written_to_the_end(
    storage: Storage, trail: Trail, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_core.trail.INTERVAL_SECONDS", 0)
    trail.note(events(1)[0])
    async with anyio.create_task_group() as tasks, storage.write():
        tasks.start_soon(trail.run)
        while trail._noted:  # noqa: SLF001 - until it waits for its turn to write
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    assert rows(settings, "SELECT id FROM security_audit_logs") == [(1,)]
