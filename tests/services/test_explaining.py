"""Why an agent can or cannot see a memory, and who is told."""

import pytest

from tests.services.conftest import World
from tests.services.test_agents import register
from tmws_core.domain.agent import Caller, Role
from tmws_core.domain.memory import AccessLevel, SharePermission
from tmws_core.errors import AgentNotFound, MemoryNotFound
from tmws_core.messages.agents import AccessExplained, DeactivateAgent, ExplainAccess
from tmws_core.messages.memory import CreateMemory, ShareMemory

pytestmark = pytest.mark.anyio

NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


async def store(world: World, caller: Caller, level: AccessLevel, *listed: str) -> str:
    request = CreateMemory(content=f"{level.value} {listed}", access_level=level, shared_with=listed)
    return (await world.app.call(caller, request)).memory_id


async def explained(world: World, caller: Caller, memory_id: str, agent_id: str) -> AccessExplained:
    return await world.app.call(caller, ExplainAccess(memory_id=memory_id, agent_id=agent_id))


@pytest.mark.parametrize(
    ("level", "agent_id", "reason", "rights"),
    [
        (AccessLevel.PRIVATE, "athena", "owner", "rwm"),
        (AccessLevel.PRIVATE, "peer", "private", ""),
        (AccessLevel.PRIVATE, "root", "administrator", "rwm"),
        (AccessLevel.TEAM, "peer", "team", "r"),
        (AccessLevel.TEAM, "root", "administrator", "rwm"),
        (AccessLevel.TEAM, "below", "other_namespace", ""),
        (AccessLevel.SHARED, "listed", "shared", "r"),
        (AccessLevel.SHARED, "writer", "shared", "rw"),
        (AccessLevel.SHARED, "reader", "shared", "r"),
        (AccessLevel.SHARED, "peer", "not_listed", ""),
        (AccessLevel.PUBLIC, "below", "public", "r"),
        (AccessLevel.SYSTEM, "below", "system", "r"),
        (AccessLevel.SYSTEM, "root", "system", "rwm"),
        (AccessLevel.PUBLIC, "gone", "inactive", ""),
    ],
)
async def test_each_reason_is_told_with_what_it_allows(
    world: World, level: AccessLevel, agent_id: str, reason: str, rights: str
) -> None:
    for name in ("athena", "peer", "listed", "writer", "gone"):
        await register(world, name)
    await register(world, "reader", role=Role.READER)
    await register(world, "below", "acme/backend")
    await register(world, "root", "tools", Role.ADMIN)
    await world.app.call(world.operator, DeactivateAgent(agent_id="gone"))
    request = CreateMemory(content="x", access_level=level, agent_id=None if level is AccessLevel.SYSTEM else "athena")
    memory_id = (await world.app.call(world.operator, request)).memory_id
    if level is AccessLevel.SHARED:
        for listed, permission in (("listed", "read"), ("writer", "write"), ("reader", "write")):
            share = ShareMemory(memory_id=memory_id, shared_with=(listed,), permission=SharePermission(permission))
            await world.app.call(world.operator, share)
    answer = await explained(world, world.operator, memory_id, agent_id)
    told = "r" * answer.allowed + "w" * answer.can_write + "m" * answer.can_manage
    assert (answer.reason, told) == (reason, rights)
    assert answer.sentence.endswith(".")


async def test_only_the_owner_and_administrators_are_told(world: World) -> None:
    athena, peer = await register(world, "athena"), await register(world, "peer")
    boss, root = (
        await register(world, "boss", role=Role.NAMESPACE_ADMIN),
        await register(world, "root", role=Role.ADMIN),
    )
    memory_id = await store(world, athena, AccessLevel.PUBLIC)
    for caller in (peer, boss):
        with pytest.raises(MemoryNotFound) as refusal:
            await explained(world, caller, memory_id, "peer")
        with pytest.raises(MemoryNotFound) as missing:
            await explained(world, caller, NOWHERE, "peer")
        assert refusal.value.message.replace(memory_id, NOWHERE) == missing.value.message
    for caller in (athena, root, world.operator):
        assert (await explained(world, caller, memory_id, "peer")).reason == "public"


async def test_an_owner_learns_nothing_of_agents_that_it_does_not_see(world: World) -> None:
    athena = await register(world, "athena")
    await register(world, "eve", "globex")
    await register(world, "gone", "globex")
    await register(world, "spy", "globex", Role.ADMIN)
    await world.app.call(world.operator, DeactivateAgent(agent_id="gone"))
    for level in (AccessLevel.PRIVATE, AccessLevel.TEAM, AccessLevel.PUBLIC, AccessLevel.SHARED):
        memory_id = await store(world, athena, level)
        messages = set()
        for agent_id in ("eve", "gone", "spy", "nobody"):
            with pytest.raises(AgentNotFound) as refusal:
                await explained(world, athena, memory_id, agent_id)
            messages.add(refusal.value.message.replace(agent_id, "…"))
        assert len(messages) == 1
    memory_id = await store(world, athena, AccessLevel.SHARED, "eve", "gone", "spy", "nobody")
    answers = [await explained(world, athena, memory_id, agent_id) for agent_id in ("eve", "gone", "spy", "nobody")]
    assert {(each.allowed, each.reason, each.can_write) for each in answers} == {(True, "shared", False)}


async def test_an_agent_that_is_not_registered_learns_about_itself(world: World) -> None:
    stranger = world.agent("stranger")
    memory_id = await store(world, stranger, AccessLevel.PRIVATE)
    assert (await explained(world, stranger, memory_id, "stranger")).reason == "owner"
