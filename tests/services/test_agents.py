"""The registry of agents: who sees, registers, changes and deactivates whom."""

import json
from typing import Any

import anyio
import attrs
import pytest

from tests.licences import FREE_ONLY
from tests.services.conftest import World
from tests.stacks import stacked
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings, load_settings
from tmws_core.domain.agent import AGENT_PERMISSIONS, Caller, Role
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import (
    AgentExists,
    AgentInactive,
    AgentNotFound,
    Forbidden,
    InvalidField,
    LicenseLimit,
    MemoryNotFound,
)
from tmws_core.messages.agents import (
    AgentView,
    DeactivateAgent,
    GetAgent,
    GetCurrentAgent,
    ListAgents,
    RegisterAgent,
    UpdateAgent,
)
from tmws_core.messages.memory import CreateMemory, DeleteMemory, GetMemory, ListMemories, ShareMemory, UpdateMemory

pytestmark = pytest.mark.anyio

PRIVATE_FIELDS = ("role", "metadata", "memories", "bytes", "created_at", "updated_at")


async def register(world: World, agent_id: str, namespace: str = "acme", role: Role = Role.AGENT) -> Caller:
    """Register an agent as the operator, and return it as a caller."""
    await world.app.call(world.operator, RegisterAgent(agent_id=agent_id, namespace=namespace, role=role))
    return world.agent(agent_id, namespace)


async def seen(world: World, caller: Caller, agent_id: str) -> AgentView:
    return (await world.app.call(caller, GetAgent(agent_id=agent_id))).agent


async def listed(world: World, caller: Caller, namespace: str | None = None) -> list[str]:
    """Return the ids on all pages of a list, two on each."""
    request, ids = ListAgents(namespace=namespace, limit=2), list[str]()
    while True:
        page = await world.app.call(caller, request)
        ids += [agent.agent_id for agent in page.agents]
        if page.next_cursor is None:
            return ids
        request = attrs.evolve(request, cursor=page.next_cursor)


def events(world: World, kind: str) -> list[dict[str, Any]]:
    rows = world.rows(f"SELECT details FROM security_audit_logs WHERE event_type = '{kind}' ORDER BY id")
    return [json.loads(str(row[0])) for row in rows]


async def test_a_registered_agent_is_read_back_as_it_was_given(world: World) -> None:
    request = RegisterAgent(
        agent_id="hera",
        namespace="acme/planning",
        role=Role.READER,
        display_name="Hera",
        description="Plans.",
        capabilities=("planning",),
        metadata={"team": 7},
    )
    registered = (await world.app.call(world.operator, request)).agent
    hera = await seen(world, world.operator, "hera")
    assert hera == registered
    given = ("agent_id", "namespace", "role", "display_name", "description", "capabilities", "metadata")
    assert {name: getattr(hera, name) for name in given} == {name: getattr(request, name) for name in given}
    assert (hera.active, hera.memories, hera.bytes) == (True, 0, 0)


async def test_without_a_namespace_an_agent_belongs_to_that_of_its_registrar(world: World) -> None:
    boss = await register(world, "boss", "acme/backend", Role.NAMESPACE_ADMIN)
    assert (await world.app.call(boss, RegisterAgent(agent_id="new"))).agent.namespace == "acme/backend"


async def test_an_agent_is_registered_once(world: World) -> None:
    await register(world, "hera")
    with pytest.raises(AgentExists):
        await register(world, "hera", "globex", Role.ADMIN)
    hera = await seen(world, world.operator, "hera")
    assert (hera.namespace, hera.role) == ("acme", Role.AGENT)
    assert len(events(world, "agent.registered")) == 1


async def test_an_agent_sees_itself_whole_and_of_its_namespace_what_is_public(world: World) -> None:
    athena = await register(world, "athena")
    await register(world, "hera")
    await world.app.call(athena, CreateMemory(content="Four."))
    own, peer = await seen(world, athena, "athena"), await seen(world, athena, "hera")
    assert (own.role, own.memories, own.bytes) == (Role.AGENT, 1, len("Four.") + len("{}"))
    assert [getattr(peer, name) for name in PRIVATE_FIELDS] == [None] * len(PRIVATE_FIELDS)
    assert peer.agent_id == "hera"
    assert (await world.app.call(athena, ListAgents())).agents == (own, peer)


async def test_agents_elsewhere_do_not_exist(world: World) -> None:
    athena = await register(world, "athena")
    for agent_id, namespace in (("ada", "globex"), ("bob", "acme/backend"), ("cid", "acme2")):
        await register(world, agent_id, namespace)
        with pytest.raises(AgentNotFound) as there:
            await seen(world, athena, agent_id)
        with pytest.raises(AgentNotFound) as nowhere:
            await seen(world, athena, "nobody")
        assert str(there.value).replace(agent_id, "nobody") == str(nowhere.value)
    assert await listed(world, athena) == await listed(world, athena, "acme") == ["athena"]
    assert await listed(world, athena, "globex") == await listed(world, athena, "acme/backend") == []
    assert await listed(world, world.agent("bob", "acme/backend"), "acme") == ["bob"]


async def test_lists_show_each_manager_just_what_it_manages(world: World) -> None:
    boss = await register(world, "boss", "acme", Role.NAMESPACE_ADMIN)
    root = await register(world, "root", "tools", Role.ADMIN)
    for agent_id, namespace in (("a", "acme"), ("b", "acme/x"), ("c", "acme/x/y"), ("d", "acme2"), ("e", "globex")):
        await register(world, agent_id, namespace)
    assert await listed(world, boss) == ["a", "b", "boss", "c"]
    assert await listed(world, boss, "acme/x") == ["b", "c"]
    assert await listed(world, boss, "globex") == []
    assert await listed(world, root) == ["a", "b", "boss", "c", "d", "e", "root"]
    assert await listed(world, root, "acme") == ["a", "b", "boss", "c"]


async def test_only_who_manages_a_namespace_changes_its_agents(world: World) -> None:
    athena = await register(world, "athena")
    reader = await register(world, "reader", role=Role.READER)
    await register(world, "hera")
    for caller in (athena, reader, world.agent("stranger")):
        for request in (
            RegisterAgent(agent_id="new"),
            UpdateAgent(agent_id="hera", role=Role.ADMIN),
            UpdateAgent(agent_id=caller.agent_id, role=Role.ADMIN),
            DeactivateAgent(agent_id="hera"),
        ):
            with pytest.raises(Forbidden):
                await world.app.call(caller, request)


async def test_a_namespace_admin_manages_its_namespace_and_those_below_and_no_other(world: World) -> None:
    boss = await register(world, "boss", "acme", Role.NAMESPACE_ADMIN)
    await register(world, "ada", "globex")
    for namespace in ("acme", "acme/backend"):
        await world.app.call(boss, RegisterAgent(agent_id=f"in-{namespace[-4:]}", namespace=namespace))
    for namespace in ("globex", "acme2", "ac"):
        with pytest.raises(Forbidden) as refusal:
            await world.app.call(boss, RegisterAgent(agent_id="new", namespace=namespace))
        assert refusal.value.field == "namespace"
    with pytest.raises(AgentNotFound):
        await world.app.call(boss, UpdateAgent(agent_id="ada", description="Mine now."))
    with pytest.raises(AgentNotFound):
        await world.app.call(boss, DeactivateAgent(agent_id="ada"))
    for agent_id in ("in-acme", "boss"):
        with pytest.raises(Forbidden):
            await world.app.call(boss, UpdateAgent(agent_id=agent_id, namespace="globex"))


async def test_nobody_gives_a_role_above_its_own_or_changes_who_has_one(world: World) -> None:
    boss = await register(world, "boss", "acme", Role.NAMESPACE_ADMIN)
    await register(world, "root", "acme", Role.ADMIN)
    with pytest.raises(Forbidden) as refusal:
        await world.app.call(boss, RegisterAgent(agent_id="new", role=Role.ADMIN))
    assert refusal.value.field == "role"
    for request in (
        UpdateAgent(agent_id="boss", role=Role.ADMIN),
        UpdateAgent(agent_id="root", role=Role.READER),
        UpdateAgent(agent_id="root", description="Harmless."),
        DeactivateAgent(agent_id="root"),
    ):
        with pytest.raises(Forbidden):
            await world.app.call(boss, request)
    await world.app.call(boss, RegisterAgent(agent_id="deputy", role=Role.NAMESPACE_ADMIN))


async def test_an_update_changes_what_it_names_and_says_so_in_the_audit_log(world: World) -> None:
    await register(world, "hera")
    before = await seen(world, world.operator, "hera")
    request = UpdateAgent(agent_id="hera", role=Role.READER, description="Reads.", capabilities=())
    after = (await world.app.call(world.operator, request)).agent
    assert after == attrs.evolve(before, role=Role.READER, description="Reads.", updated_at=after.updated_at)
    [event] = events(world, "agent.updated")
    assert (event["agent"], event["fields"], event["role_from"], event["role_to"]) == (
        "hera",
        "role,description",
        "agent",
        "reader",
    )


async def test_an_update_that_changes_nothing_leaves_no_trace(world: World) -> None:
    await register(world, "hera")
    before = await seen(world, world.operator, "hera")
    await world.app.call(world.operator, UpdateAgent(agent_id="hera", role=Role.AGENT, active=True))
    assert await seen(world, world.operator, "hera") == before
    assert events(world, "agent.updated") == []
    with pytest.raises(InvalidField):
        await world.app.call(world.operator, UpdateAgent(agent_id="hera"))
    with pytest.raises(InvalidField) as refusal:
        await world.app.call(world.operator, UpdateAgent(agent_id="hera", active=False))
    assert "deactivate_agent" in refusal.value.message


async def test_two_updates_at_once_lose_nothing(world: World) -> None:
    await register(world, "hera")
    fields: list[dict[str, Any]] = [
        {"display_name": "Hera"},
        {"description": "Plans."},
        {"capabilities": ("planning",)},
        {"metadata": {"k": 1}},
        {"role": Role.READER},
        {"namespace": "globex"},
    ]
    async with anyio.create_task_group() as tasks:
        for field in fields:
            tasks.start_soon(world.app.call, world.operator, UpdateAgent(agent_id="hera", **field))
    hera = await seen(world, world.operator, "hera")
    assert {name: getattr(hera, name) for field in fields for name in field} == {
        name: value for field in fields for name, value in field.items()
    }


async def test_of_many_registrations_of_one_id_at_once_one_succeeds(world: World) -> None:
    refused = 0

    async def attempt(namespace: str) -> None:
        nonlocal refused
        try:
            await register(world, "hera", namespace)
        except AgentExists:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(attempt, f"n{number}")
    assert refused == 7
    assert len(events(world, "agent.registered")) == 1


async def test_nothing_runs_in_the_name_of_a_deactivated_agent_and_its_memories_stay(world: World) -> None:
    athena, hera = await register(world, "athena"), await register(world, "hera")
    shared = CreateMemory(content="For the team.", access_level=AccessLevel.TEAM)
    memory_id = (await world.app.call(athena, shared)).memory_id
    await world.app.call(world.operator, DeactivateAgent(agent_id="athena"))
    with pytest.raises(AgentInactive):
        await world.app.call(athena, ListMemories())
    with pytest.raises(AgentInactive):
        await world.app.call(athena, GetCurrentAgent())
    with pytest.raises(AgentInactive):
        await world.app.call(world.operator, CreateMemory(content="For her.", agent_id="athena"))
    assert (await world.app.call(hera, GetMemory(memory_id=memory_id))).memory.agent_id == "athena"
    assert not (await seen(world, hera, "athena")).active
    assert [event["agent"] for event in events(world, "agent.deactivated")] == ["athena"]

    await world.app.call(world.operator, UpdateAgent(agent_id="athena", active=True))
    assert (await world.app.call(athena, GetMemory(memory_id=memory_id))).memory.content == "For the team."


async def test_nobody_deactivates_itself(world: World) -> None:
    root = await register(world, "root", role=Role.ADMIN)
    with pytest.raises(Forbidden) as refusal:
        await world.app.call(root, DeactivateAgent(agent_id="root"))
    assert "another administrator" in refusal.value.message
    assert (await seen(world, root, "root")).active


async def test_a_role_that_is_taken_away_is_gone_with_the_next_call(world: World) -> None:
    boss = await register(world, "boss", role=Role.NAMESPACE_ADMIN)
    await world.app.call(boss, RegisterAgent(agent_id="one"))
    await world.app.call(world.operator, UpdateAgent(agent_id="boss", role=Role.AGENT))
    with pytest.raises(Forbidden):
        await world.app.call(boss, RegisterAgent(agent_id="two"))


async def test_everybody_learns_who_it_is(world: World) -> None:
    boss = await register(world, "boss", role=Role.NAMESPACE_ADMIN)
    await world.app.call(boss, CreateMemory(content="x"))
    me = await world.app.call(boss, GetCurrentAgent())
    assert (me.agent_id, me.namespace, me.role, me.transport) == ("boss", "acme", Role.NAMESPACE_ADMIN, "python")
    assert (me.registered, me.memories, me.bytes) == (True, 1, 3)
    assert "namespace:manage" in me.permissions
    stranger = await world.app.call(world.agent("stranger"), GetCurrentAgent())
    assert (stranger.registered, stranger.role) == (False, Role.AGENT)
    assert set(stranger.permissions) == {permission.value for permission in AGENT_PERMISSIONS}
    assert (await world.app.call(world.operator, GetCurrentAgent())).role is Role.ADMIN


async def test_a_reader_reads_and_writes_nothing(world: World) -> None:
    athena, reader = await register(world, "athena"), await register(world, "reader", role=Role.READER)
    request = CreateMemory(content="Old.", access_level=AccessLevel.SHARED, shared_with=("reader",))
    memory_id = (await world.app.call(athena, request)).memory_id
    assert (await world.app.call(reader, GetMemory(memory_id=memory_id))).memory.content == "Old."
    for caller, name in ((reader, None), (world.operator, "reader")):
        for change in (
            CreateMemory(content="New.", agent_id=name),
            UpdateMemory(memory_id=memory_id, content="New.", agent_id=name),
            ShareMemory(memory_id=memory_id, shared_with=("x",), agent_id=name),
            DeleteMemory(memory_id=memory_id, agent_id=name),
        ):
            with pytest.raises(Forbidden):
                await world.app.call(caller, change)


async def test_what_a_reader_owns_from_before_stays_as_it_is(world: World) -> None:
    hera = await register(world, "hera")
    memory_id = (await world.app.call(hera, CreateMemory(content="Mine."))).memory_id
    await world.app.call(world.operator, UpdateAgent(agent_id="hera", role=Role.READER))
    with pytest.raises(Forbidden):
        await world.app.call(world.operator, DeleteMemory(memory_id=memory_id, agent_id="hera"))
    assert (await world.app.call(hera, GetMemory(memory_id=memory_id))).memory.content == "Mine."


async def test_a_namespace_admin_acts_for_its_agents_and_for_no_others(world: World) -> None:
    boss = await register(world, "boss", "acme", Role.NAMESPACE_ADMIN)
    await register(world, "ada", "acme/backend")
    await register(world, "eve", "globex")
    written = CreateMemory(content="For Ada.", agent_id="ada", access_level=AccessLevel.TEAM)
    memory_id = (await world.app.call(boss, written)).memory_id
    memory = (await world.app.call(boss, GetMemory(memory_id=memory_id, agent_id="ada"))).memory
    assert (memory.agent_id, memory.namespace, memory.written_by) == ("ada", "acme/backend", "boss")
    with pytest.raises(MemoryNotFound):
        await world.app.call(boss, GetMemory(memory_id=memory_id))
    messages = set()
    for agent_id in ("eve", "nobody"):
        with pytest.raises(Forbidden) as refusal:
            await world.app.call(boss, CreateMemory(content="x", agent_id=agent_id))
        messages.add(refusal.value.message)
    assert len(messages) == 1


async def test_a_namespace_admin_writes_to_its_namespace_and_those_below(world: World) -> None:
    boss = await register(world, "boss", "acme", Role.NAMESPACE_ADMIN)
    athena = await register(world, "athena")
    below = CreateMemory(content="x", namespace="acme/backend")
    memory_id = (await world.app.call(boss, below)).memory_id
    assert (await world.app.call(boss, GetMemory(memory_id=memory_id))).memory.namespace == "acme/backend"
    for caller, namespace in ((boss, "globex"), (boss, "acme2"), (athena, "acme/backend")):
        with pytest.raises(Forbidden) as refusal:
            await world.app.call(caller, attrs.evolve(below, namespace=namespace))
        assert refusal.value.field == "namespace"


async def test_an_agent_takes_a_seat_when_it_is_registered_and_when_it_comes_back(settings: Settings) -> None:
    variables = {"TMWS_HOME": str(settings.home), "TMWS_OLLAMA_BASE_URL": settings.ollama_base_url, **FREE_ONLY}
    free = load_settings(stacked(variables | {"TMWS_OLLAMA_MODEL": settings.ollama_model}), dotenv=None)
    async with open_app(free) as app:
        operator = free.operator()
        await app.call(operator, RegisterAgent(agent_id="one"))
        with pytest.raises(LicenseLimit):
            await app.call(operator, RegisterAgent(agent_id="two"))
        await app.call(operator, DeactivateAgent(agent_id="one"))
        await app.call(operator, RegisterAgent(agent_id="two"))
        with pytest.raises(LicenseLimit):
            await app.call(operator, UpdateAgent(agent_id="one", active=True))
        assert [(each.agent_id, each.active) for each in (await app.call(operator, ListAgents())).agents] == [
            ("one", False),
            ("two", True),
        ]
