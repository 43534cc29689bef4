"""What a name gives whoever gets it later, and what a namespace gets from an agent that has left it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from tests.services.conftest import World
from tests.services.test_agents import register
from tmws_core.domain.agent import Caller, Role
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import AgentExists, Forbidden, MemoryNotFound
from tmws_core.messages.agents import RegisterAgent, UpdateAgent
from tmws_core.messages.memory import CreateMemory, DeleteMemory, GetMemory, ListMemories, UpdateMemory

pytestmark = pytest.mark.anyio

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


async def test_a_name_that_another_namespace_shares_with_is_not_there_for_the_taking(world: World) -> None:
    boss = await register(world, "boss", "globex", Role.NAMESPACE_ADMIN)
    athena = await register(world, "athena")
    shared = CreateMemory(content="For Bob.", access_level=AccessLevel.SHARED, shared_with=("bob",))
    memory_id = (await world.app.call(athena, shared)).memory_id
    for claim in (RegisterAgent(agent_id="bob"), RegisterAgent(agent_id="bob", namespace="globex/deep")):
        with pytest.raises(AgentExists) as refusal:
            await world.app.call(boss, claim)
        assert refusal.value.field == "agent_id"
        with pytest.raises(AgentExists) as taken:
            await world.app.call(boss, attrs.evolve(claim, agent_id="athena"))
        assert refusal.value.message == taken.value.message.replace("athena", "bob")
    deputy = await register(world, "deputy", "acme", Role.NAMESPACE_ADMIN)
    await world.app.call(deputy, RegisterAgent(agent_id="bob"))
    bob = world.agent("bob")
    assert (await world.app.call(bob, GetMemory(memory_id=memory_id))).memory.content == "For Bob."
    await world.app.call(boss, RegisterAgent(agent_id="carol"))


async def test_an_agent_that_moved_tells_its_former_team_nothing_new_and_can_withdraw(world: World) -> None:
    athena, hera = await register(world, "athena"), await register(world, "hera")
    team = CreateMemory(content="For the team.", access_level=AccessLevel.TEAM)
    published = (await world.app.call(athena, team)).memory_id
    private = (await world.app.call(athena, CreateMemory(content="Mine."))).memory_id
    await world.app.call(world.operator, UpdateAgent(agent_id="athena", namespace="globex"))
    moved = world.agent("athena", "globex")
    for request, field in (
        (UpdateMemory(memory_id=published, content="Secrets of globex."), "content"),
        (UpdateMemory(memory_id=published, tags=("globex",)), "tags"),
        (UpdateMemory(memory_id=private, access_level=AccessLevel.TEAM), "access_level"),
    ):
        with pytest.raises(Forbidden) as refusal:
            await world.app.call(moved, request)
        assert refusal.value.field == field
    assert (await world.app.call(hera, GetMemory(memory_id=published))).memory.content == "For the team."
    await world.app.call(moved, UpdateMemory(memory_id=private, content="Mine, still."))
    fresh = (await world.app.call(moved, attrs.evolve(team, content="For the new team."))).memory_id
    await world.app.call(moved, UpdateMemory(memory_id=published, access_level=AccessLevel.PRIVATE))
    for memory_id in (published, fresh):
        with pytest.raises(MemoryNotFound):
            await world.app.call(hera, GetMemory(memory_id=memory_id))


async def test_an_agent_that_moved_brings_nothing_back_to_its_former_team(world: World) -> None:
    athena, hera = await register(world, "athena"), await register(world, "hera")
    told = [
        (await world.app.call(athena, CreateMemory(content=text, access_level=AccessLevel.TEAM, expires_at=expiry)))
        for text, expiry in (("Ended.", PAST), ("Replaced.", None), ("Ending.", FUTURE), ("In force.", None))
    ]
    ended, replaced, ending, valid = (each.memory_id for each in told)
    own = (await world.app.call(athena, CreateMemory(content="Mine.", access_level=AccessLevel.PUBLIC))).memory_id
    other = (await world.app.call(athena, CreateMemory(content="Yours.", access_level=AccessLevel.PUBLIC))).memory_id
    await world.app.call(athena, UpdateMemory(memory_id=replaced, superseded_by=own))
    await world.app.call(world.operator, UpdateAgent(agent_id="athena", namespace="globex"))
    moved = world.agent("athena", "globex")
    later = FUTURE + timedelta(days=1)
    brings_back: tuple[tuple[str, str, Any], ...] = (
        (ended, "expires_at", None),
        (ended, "expires_at", FUTURE),
        (ending, "expires_at", None),
        (ending, "expires_at", later),
        (replaced, "superseded_by", None),
        (replaced, "superseded_by", other),
    )
    for memory_id, field, value in brings_back:
        with pytest.raises(Forbidden) as refusal:
            await world.app.call(moved, attrs.evolve(UpdateMemory(memory_id=memory_id), **{field: value}))
        assert refusal.value.field == field
    in_force = {each.memory_id for each in (await world.app.call(hera, ListMemories(agent_id="athena"))).memories}
    assert in_force == {ending, valid, own, other}
    withdraws: tuple[tuple[str, dict[str, Any]], ...] = (
        (ended, {"expires_at": PAST}),
        (ended, {"expires_at": PAST - timedelta(days=1)}),
        (valid, {"expires_at": FUTURE, "superseded_by": None}),
        (ending, {"expires_at": PAST, "superseded_by": own}),
        (replaced, {"superseded_by": own}),
        (valid, {"superseded_by": own}),
    )
    for memory_id, changes in withdraws:
        await world.app.call(moved, UpdateMemory(memory_id=memory_id, **changes))
    in_force = {each.memory_id for each in (await world.app.call(hera, ListMemories(agent_id="athena"))).memories}
    assert in_force == {own, other}


async def test_an_agent_that_moved_brings_nothing_back_by_deleting_what_replaced_it(world: World) -> None:
    athena, hera = await register(world, "athena"), await register(world, "hera")

    async def create(caller: Caller, content: str, level: AccessLevel = AccessLevel.TEAM) -> str:
        return (await world.app.call(caller, CreateMemory(content=content, access_level=level))).memory_id

    async def in_force(agent_id: str) -> set[str]:
        return {each.memory_id for each in (await world.app.call(hera, ListMemories(agent_id=agent_id))).memories}

    before, withdrawn = await create(athena, "Told."), await create(athena, "Withdrawn.")
    successor, hers = await create(athena, "Told since."), await create(hera, "Hers.")
    await world.app.call(athena, UpdateMemory(memory_id=before, superseded_by=successor))
    await world.app.call(world.operator, UpdateAgent(agent_id="athena", namespace="globex"))
    moved = world.agent("athena", "globex")
    own = await create(moved, "For the new team.")
    public = await create(moved, "For all.", AccessLevel.PUBLIC)
    await world.app.call(moved, UpdateMemory(memory_id=withdrawn, superseded_by=own))
    await world.app.call(hera, UpdateMemory(memory_id=hers, superseded_by=public))
    for memory_id in (successor, own):
        with pytest.raises(Forbidden, match=r"bring the memory .* back to the namespace acme"):
            await world.app.call(moved, DeleteMemory(memory_id=memory_id))
    assert await in_force("athena") == {successor, public}

    # What others own is theirs, and so is what they tied it to.
    await world.app.call(moved, DeleteMemory(memory_id=public))
    assert await in_force("hera") == {hers}
    await world.app.call(moved, UpdateMemory(memory_id=before, access_level=AccessLevel.PRIVATE))
    await world.app.call(moved, DeleteMemory(memory_id=withdrawn))
    for memory_id in (successor, own):
        await world.app.call(moved, DeleteMemory(memory_id=memory_id))
    assert await in_force("athena") == set()
