"""Memories that end: who may let them, what replaces what, and how they come back."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import anyio
import attrs
import pytest

from tests.services.clock import SettableClock
from tests.services.conftest import World
from tests.stacks import rows
from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import AccessLevel, SharePermission
from tmws_core.errors import Forbidden, InvalidField, MemoryNotFound, TmwsError, VersionConflict
from tmws_core.messages.memory import (
    CreateMemory,
    DeleteMemory,
    GetMemory,
    ListMemories,
    MemoryView,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories

pytestmark = pytest.mark.anyio

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


async def _create(world: World, content: str, agent: str = "athena", **fields: Any) -> str:
    return (await world.app.call(world.agent(agent), CreateMemory(content=content, **fields))).memory_id


async def _chain(world: World, *contents: str) -> list[str]:
    """Store memories each of which is replaced by the next one."""
    ids = [await _create(world, content) for content in contents]
    for former, later in pairwise(ids):
        await _replace(world, former, later)
    return ids


async def _replace(world: World, former: str, later: str | None, agent: str = "athena") -> None:
    await world.app.call(world.agent(agent), UpdateMemory(memory_id=former, superseded_by=later))


async def _read(world: World, memory_id: str) -> MemoryView:
    return (await world.app.call(world.operator, GetMemory(memory_id=memory_id))).memory


async def _found(world: World, query: str, agent: str = "athena") -> list[str]:
    found = await world.app.call(world.agent(agent), SearchMemories(query=query))
    return sorted(hit.memory_id for hit in found.results)


async def _shared_for_writing(world: World, **fields: Any) -> str:
    memory_id = await _create(world, "The shared plan.", **fields)
    share = ShareMemory(memory_id=memory_id, shared_with=("hestia",), permission=SharePermission.WRITE)
    await world.app.call(world.agent("athena"), share)
    return memory_id


@pytest.mark.parametrize("field", ["expires_at", "superseded_by", "access_level"])
async def test_who_may_only_write_cannot_let_a_memory_vanish(world: World, field: str) -> None:
    plan = await _shared_for_writing(world)
    own = await _create(world, "Another plan.", "hestia", access_level=AccessLevel.PUBLIC)
    values: dict[str, Sequence[Any]] = {
        "expires_at": (PAST, FUTURE),
        "superseded_by": (own,),
        "access_level": (AccessLevel.PRIVATE, AccessLevel.TEAM),
    }
    for value in values[field]:
        request = attrs.evolve(UpdateMemory(memory_id=plan, content="New text."), **{field: value})
        with pytest.raises(Forbidden) as refusal:
            await world.app.call(world.agent("hestia"), request)
        assert refusal.value.field == field
    assert (await _read(world, plan)).version == 2
    assert plan in await _found(world, "shared plan")
    for refused in (DeleteMemory(memory_id=plan), ShareMemory(memory_id=plan, shared_with=("athena",), revoke=True)):
        with pytest.raises(Forbidden):
            await world.app.call(world.agent("hestia"), refused)


@pytest.mark.parametrize("field", ["expires_at", "superseded_by"])
async def test_who_may_only_write_cannot_bring_a_memory_back_and_may_repeat_what_is(world: World, field: str) -> None:
    plan = await _shared_for_writing(world, expires_at=FUTURE)
    new = await _create(world, "Another plan.", access_level=AccessLevel.PUBLIC)
    await _replace(world, plan, new)
    hestia = world.agent("hestia")
    with pytest.raises(Forbidden) as refusal:
        await world.app.call_wire(hestia, "update_memory", {"memory_id": plan, field: None})
    assert refusal.value.field == field
    same: dict[str, Any] = {"expires_at": FUTURE, "superseded_by": new}
    await world.app.call(hestia, UpdateMemory(memory_id=plan, content="New text.", **{field: same[field]}))
    assert (await _read(world, plan)).content == "New text."


async def test_the_owner_and_administrators_may_let_a_memory_end(world: World) -> None:
    for caller in (world.agent("athena"), world.operator):
        plan = await _shared_for_writing(world)
        await world.app.call(caller, UpdateMemory(memory_id=plan, expires_at=PAST))
        assert await _found(world, "shared plan") == []
        await world.app.call(caller, UpdateMemory(memory_id=plan, expires_at=None))
        assert await _found(world, "shared plan") == [plan]
        await world.app.call(caller, DeleteMemory(memory_id=plan))


async def test_no_memory_is_replaced_by_what_it_has_replaced(world: World) -> None:
    first, second, third = await _chain(world, "The port is 1.", "The port is 2.", "The port is 3.")
    for former, later in ((second, first), (third, first), (third, second), (first, first)):
        with pytest.raises(InvalidField) as refusal:
            await _replace(world, former, later)
        assert refusal.value.field == "superseded_by"
    assert await _found(world, "port") == [third]


async def test_what_one_may_not_see_is_not_said_to_have_been_replaced_by_ones_own(world: World) -> None:
    hidden = await _create(world, "Hestia's port.", "hestia")
    own = await _create(world, "Athena's port.", access_level=AccessLevel.PUBLIC)
    await _replace(world, hidden, own, "hestia")
    with pytest.raises(MemoryNotFound) as refusal:
        await _replace(world, own, hidden)
    assert (refusal.value.memory_id, refusal.value.field) == (hidden, "superseded_by")


async def test_two_agents_at_once_cannot_replace_each_others_memories(world: World) -> None:
    public = {"access_level": AccessLevel.PUBLIC}
    for number in range(4):
        mine = await _create(world, f"Port {number}, says Athena.", "athena", **public)
        hers = await _create(world, f"Port {number}, says Hestia.", "hestia", **public)
        outcomes: list[str] = []

        async def replace(former: str, later: str, agent: str, outcomes: list[str]) -> None:
            try:
                await _replace(world, former, later, agent)
                outcomes.append("replaced")
            except InvalidField as refusal:
                outcomes.append(refusal.field or "")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(replace, mine, hers, "athena", outcomes)
            tasks.start_soon(replace, hers, mine, "hestia", outcomes)
        assert sorted(outcomes) == ["replaced", "superseded_by"]


async def test_clearing_the_successor_brings_a_memory_back(world: World) -> None:
    old, new = await _chain(world, "The port is 8000.", "The port is 9000.")
    assert await _found(world, "port") == [new]
    await _replace(world, old, None)
    assert await _found(world, "port") == sorted([old, new])
    await _replace(world, new, old)
    assert await _found(world, "port") == [old]


async def test_a_deleted_successor_brings_what_it_replaced_back(world: World) -> None:
    old, new = await _chain(world, "The port is 8000.", "The port is 9000.")
    other = await _create(world, "The port is 7000.")
    await _replace(world, other, new)
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=new))
    assert await _found(world, "port") == sorted([old, other])
    assert (await _read(world, old)).superseded_by is None


async def test_a_deleted_successor_of_another_owner_brings_what_it_replaced_back(world: World) -> None:
    old = await _create(world, "The port is 8000.")
    new = await _create(world, "The port is 9000.", "hestia", access_level=AccessLevel.PUBLIC)
    await _replace(world, old, new)
    assert await _found(world, "port") == [new]
    await world.app.call(world.agent("hestia"), DeleteMemory(memory_id=new))
    assert await _found(world, "port") == [old]


async def test_a_deleted_successor_changes_what_it_replaced_in_view_of_everybody(settings: Settings) -> None:
    clock = SettableClock(datetime(2026, 1, 31, 12, tzinfo=UTC))
    athena, hestia = settings.agent(), settings.agent("hestia")
    async with open_parts(settings) as parts:
        app = compose(settings, attrs.evolve(parts, clock=clock))
        old = (await app.call(athena, CreateMemory(content="The port is 8000."))).memory_id
        public = CreateMemory(content="The port is 9000.", access_level=AccessLevel.PUBLIC)
        new = (await app.call(hestia, public)).memory_id
        version = (await app.call(athena, UpdateMemory(memory_id=old, superseded_by=new))).version
        clock.time += timedelta(hours=1)
        async with parts.bus.subscribe() as events:
            await app.call(hestia, DeleteMemory(memory_id=new))
            with anyio.fail_after(60):
                assert set((await anext(events)).memory_ids) == {new, old}
        view = (await app.call(athena, GetMemory(memory_id=old))).memory
        assert (view.version, view.updated_at, view.superseded_by) == (version + 1, clock.time, None)
        with pytest.raises(VersionConflict):
            await app.call(athena, UpdateMemory(memory_id=old, importance=0.9, expected_version=version))
    last = rows(settings, "SELECT event_type, agent_id, details FROM security_audit_logs ORDER BY id")[-2:]
    assert [(kind, agent, json.loads(details)) for kind, agent, details in last] == [
        ("memory.deleted", "hestia", {"memory_id": new, "owner": "hestia", "transport": "python"}),
        ("memory.updated", "hestia", {"memory_id": old, "owner": athena.agent_id, "transport": "python"}),
    ]


async def test_each_change_of_a_memory_counts_while_its_successors_are_deleted(world: World) -> None:
    old = await _create(world, "The port is 8000.")
    for number in range(4):
        new = await _create(world, f"The port is {number}.", "hestia", access_level=AccessLevel.PUBLIC)
        await _replace(world, old, new)
        before = (await _read(world, old)).version

        async def label(number: int) -> None:
            await world.app.call(world.agent("athena"), UpdateMemory(memory_id=old, importance=number / 10))

        async def delete(new: str) -> None:
            await world.app.call(world.agent("hestia"), DeleteMemory(memory_id=new))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(label, number)
            tasks.start_soon(delete, new)
        assert (await _read(world, old)).version == before + 2


async def test_a_deleted_successor_ties_nothing_to_what_its_owner_cannot_see(world: World) -> None:
    old = await _create(world, "The port is 8000.")
    public = await _create(world, "The port is 9000.", "hestia", access_level=AccessLevel.PUBLIC)
    hidden = await _create(world, "The port is 9001.", "hestia")
    await _replace(world, old, public)
    await _replace(world, public, hidden, "hestia")
    await world.app.call(world.agent("hestia"), DeleteMemory(memory_id=public))
    assert (await _read(world, old)).superseded_by is None
    assert await _found(world, "port") == [old]


async def test_the_end_of_a_chain_goes_on_counting_when_its_middle_is_deleted(world: World) -> None:
    first, second, third = await _chain(world, "The port is 1.", "The port is 2.", "The port is 3.")
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=second))
    assert (await _read(world, first)).superseded_by == third
    assert await _found(world, "port") == [third]
    await world.app.call(world.agent("athena"), DeleteMemory(memory_id=third))
    assert await _found(world, "port") == [first]


async def test_chains_stay_whole_while_all_but_their_first_are_deleted_at_once(world: World) -> None:
    agents = ("athena", "hestia", "artemis", "eris")
    ids = [await _create(world, f"The port is {agent}.", agent, access_level=AccessLevel.PUBLIC) for agent in agents]
    for agent, former, later in zip(agents, ids, ids[1:], strict=False):
        await _replace(world, former, later, agent)

    async def delete(memory_id: str, agent: str) -> None:
        await world.app.call(world.agent(agent), DeleteMemory(memory_id=memory_id))

    async def label(number: int) -> None:
        await world.app.call(world.agent("athena"), UpdateMemory(memory_id=ids[0], importance=number / 10))

    async with anyio.create_task_group() as tasks:
        for number, (memory_id, agent) in enumerate(zip(ids[1:], agents[1:], strict=True)):
            tasks.start_soon(label, number)
            tasks.start_soon(delete, memory_id, agent)
    assert await _found(world, "port") == [ids[0]]
    assert (await _read(world, ids[0])).superseded_by is None


async def test_nothing_is_replaced_by_what_is_deleted_at_the_same_time(world: World) -> None:
    for number in range(4):
        old = await _create(world, f"Old port {number}.")
        new = await _create(world, f"New port {number}.", "hestia", access_level=AccessLevel.PUBLIC)

        async def replace(old: str, new: str) -> None:
            with suppress(MemoryNotFound):
                await _replace(world, old, new)

        async def delete(new: str) -> None:
            await world.app.call(world.agent("hestia"), DeleteMemory(memory_id=new))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(replace, old, new)
            tasks.start_soon(delete, new)
        assert await _found(world, f"port {number}") != []
        assert (await _read(world, old)).superseded_by is None


async def test_the_first_time_of_being_replaced_stays(settings: Settings) -> None:
    begin = datetime(2026, 1, 31, 12, tzinfo=UTC)
    clock = SettableClock(begin)
    async with open_parts(settings) as parts:
        app = compose(settings, attrs.evolve(parts, clock=clock))
        athena = settings.agent()
        ids = [(await app.call(athena, CreateMemory(content=f"The port is {port}."))).memory_id for port in range(3)]

        async def replace(hours: int, later: str | None) -> None:
            clock.time = begin + timedelta(hours=hours)
            await app.call(athena, UpdateMemory(memory_id=ids[0], superseded_by=later))

        def since() -> list[tuple[Any, ...]]:
            return rows(settings, f"SELECT superseded_at FROM memories_v2 WHERE id = '{ids[0]}'")

        await replace(1, ids[1])
        first = since()
        await replace(2, ids[2])
        await replace(3, ids[2])
        assert since() == first
        await replace(4, None)
        assert since() == [(None,)]
        await replace(5, ids[1])
        assert since() not in (first, [(None,)])


async def test_an_expired_successor_stays_what_replaced_the_memory(world: World) -> None:
    old, new = await _chain(world, "The port is 8000.", "The port is 9000.")
    await world.app.call(world.agent("athena"), UpdateMemory(memory_id=new, expires_at=PAST))
    assert await _found(world, "port") == []
    await _replace(world, old, None)
    assert await _found(world, "port") == [old]


async def test_a_reader_learns_nothing_of_a_successor_that_it_does_not_see(world: World) -> None:
    old = await _create(world, "The port is 8000.", access_level=AccessLevel.PUBLIC)
    new = await _create(world, "The port is 9000.")
    await _replace(world, old, new)
    hestia: Caller = world.agent("hestia")
    assert await _found(world, "port", "hestia") == []
    memory = (await world.app.call(hestia, GetMemory(memory_id=old))).memory
    assert (memory.content, memory.superseded_by) == ("The port is 8000.", None)
    own = await _create(world, "The port is mine.", "hestia")
    with pytest.raises(TmwsError) as refusal:
        await _replace(world, own, new, "hestia")
    assert isinstance(refusal.value, MemoryNotFound)
    assert refusal.value.field == "superseded_by"


async def test_what_a_memory_that_is_gone_still_replaces_says_so_to_who_can_bring_it_back(world: World) -> None:
    """Versions that brought nothing back when they deleted a successor have left such memories."""
    old = await _create(world, "The port is 8000.", access_level=AccessLevel.PUBLIC)
    other = await _create(world, "The port is 9000.", "hestia", access_level=AccessLevel.PUBLIC)
    gone = "01890a5d-ac96-774b-bcce-b302099a8057"
    world.change(f"UPDATE memories_v2 SET superseded_by = '{gone}', superseded_at = updated_at")
    seen = {
        (agent, memory_id): (await world.app.call(world.agent(agent), GetMemory(memory_id=memory_id))).memory
        for agent in ("athena", "hestia")
        for memory_id in (old, other)
    }
    named = {place for place, view in seen.items() if view.superseded_by == gone}
    assert named == {("athena", old), ("hestia", other)}
    listed = await world.app.call(world.agent("athena"), ListMemories(include_superseded=True))
    assert {each.memory_id: each.superseded_by for each in listed.memories} == {old: gone, other: None}
    assert await _found(world, "port") == []

    await _replace(world, old, None)

    assert await _found(world, "port") == [old]
