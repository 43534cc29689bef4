"""Agents: register, look up, change, deactivate."""

import attrs

from tmws_core.admission import Admission
from tmws_core.domain.access import knows, knows_whole
from tmws_core.domain.agent import ROLES, Agent, Belongings, Caller, Permission, Role
from tmws_core.domain.audit import AuditEvent, Detail
from tmws_core.domain.namespace import is_within
from tmws_core.errors import AgentExists, AgentNotFound, Forbidden, InvalidField, LicenseLimit
from tmws_core.identity import Standing, Writing
from tmws_core.messages.agents import (
    CHANGEABLE,
    AgentChanged,
    AgentFound,
    AgentPage,
    CurrentAgent,
    DeactivateAgent,
    GetAgent,
    GetCurrentAgent,
    ListAgents,
    RegisterAgent,
    UpdateAgent,
    changed,
    view,
)
from tmws_core.messages.paging import Cursors
from tmws_core.operation import Effect, operation
from tmws_core.ports.agents import Agents as Stored
from tmws_core.ports.storage import Storage, UnitOfWork
from tmws_core.ports.system import Clock

_NOWHERE = ""
"""A namespace that holds nothing: none is empty, and none begins with a slash."""


@attrs.frozen(kw_only=True)
class Agents:
    """The registry of agents; each change is one transaction, which holds its audit event, too.

    An agent sees itself and those of its namespace, one that manages agents those that it manages; others do not exist
    for it.
    """

    storage: Storage
    writing: Writing
    clock: Clock
    admission: Admission
    cursors: Cursors
    audited: bool

    @operation(
        "register_agent",
        toolset="agents",
        permission=Permission.MANAGE_NAMESPACE,
        effect=Effect.WRITE,
        raises=(AgentExists, LicenseLimit, Forbidden, InvalidField),
    )
    async def register(self, caller: Caller, request: RegisterAgent) -> AgentChanged:
        """Register an agent, with the namespace that it belongs to and what it may do."""
        async with self.writing(caller, Permission.MANAGE_NAMESPACE, changing=[request.agent_id]) as standing:
            unit, caller = standing.unit, standing.caller
            namespace = request.namespace or caller.namespace
            _check_rights(caller, namespace, request.role)
            now = self.clock.now()
            agent = Agent(
                id=request.agent_id,
                namespace=namespace,
                role=request.role,
                display_name=request.display_name,
                description=request.description,
                capabilities=request.capabilities,
                metadata=request.metadata,
                created_at=now,
                updated_at=now,
            )
            if standing.find(agent.id) is not None:
                raise AgentExists(agent_id=agent.id)
            await _check_claim(unit.agents, caller, agent.id)
            await self.admission.register(unit.agents, agent)
            # A server of an older version registers whoever stores a first memory without the lock that this unit has.
            if await unit.agents.find(agent.id) != agent:
                raise AgentExists(agent_id=agent.id)
            await self._record(unit, caller, "agent.registered", agent, role=agent.role.value)
            owned = await unit.agents.belongings([agent.id])
        return AgentChanged(agent=view(agent, owned, whole=True))

    @operation(
        "get_agent",
        toolset="agents",
        permission=Permission.AGENTS_READ,
        effect=Effect.READ,
        raises=(AgentNotFound, InvalidField),
        quotes=True,
    )
    async def get(self, caller: Caller, request: GetAgent) -> AgentFound:
        """Look at one agent."""
        async with self.storage.read() as snapshot:
            agent = _visible(await snapshot.agents.find(request.agent_id), caller, request.agent_id)
            owned = await snapshot.agents.belongings([agent.id])
        return AgentFound(agent=view(agent, owned, whole=knows_whole(caller, agent)))

    @operation(
        "list_agents",
        toolset="agents",
        permission=Permission.AGENTS_READ,
        effect=Effect.READ,
        raises=(InvalidField,),
        quotes=True,
    )
    async def page(self, caller: Caller, request: ListAgents) -> AgentPage:
        """List the agents that you can see; of a namespace with those below it, if you manage them."""
        after = await self.cursors.position(caller, request)
        within = _within(caller, request.namespace)
        async with self.storage.read() as snapshot:
            found = await _visible_page(snapshot.agents, caller, within, after, request.limit + 1)
            owned = await snapshot.agents.belongings([agent.id for agent in found])
        page = found[: request.limit]
        more = len(found) > len(page)
        return AgentPage(
            agents=tuple(view(agent, owned, whole=knows_whole(caller, agent)) for agent in page),
            next_cursor=await self.cursors.at(caller, request, page[-1].id) if more else None,
        )

    @operation(
        "update_agent",
        toolset="agents",
        permission=Permission.MANAGE_NAMESPACE,
        effect=Effect.UPDATE,
        raises=(AgentNotFound, LicenseLimit, Forbidden, InvalidField),
    )
    async def update(self, caller: Caller, request: UpdateAgent) -> AgentChanged:
        """Change what is known of an agent and what it may do, or make it active again."""
        _check_update(request)
        async with self.writing(caller, Permission.MANAGE_NAMESPACE, changing=[request.agent_id]) as standing:
            unit, caller = standing.unit, standing.caller
            former = _managed(standing, request.agent_id)
            agent = changed(former, request, self.clock.now())
            _check_rights(caller, agent.namespace, agent.role)
            if agent.active and not former.active:
                await self.admission.seat(unit.agents, agent.id)
            if agent is not former:
                await unit.agents.replace(agent)
                await self._record(unit, caller, "agent.updated", agent, **_differences(former, agent))
            owned = await unit.agents.belongings([agent.id])
        return AgentChanged(agent=view(agent, owned, whole=True))

    @operation(
        "deactivate_agent",
        toolset="agents",
        permission=Permission.MANAGE_NAMESPACE,
        effect=Effect.DELETE,
        raises=(AgentNotFound, Forbidden, InvalidField),
    )
    async def deactivate(self, caller: Caller, request: DeactivateAgent) -> AgentChanged:
        """Let nothing run in an agent's name any more; what it owns stays, and update_agent brings it back."""
        if request.agent_id == caller.agent_id:
            raise Forbidden(action="deactivate yourself", needs="another administrator", name="agent_id")
        async with self.writing(caller, Permission.MANAGE_NAMESPACE, changing=[request.agent_id]) as standing:
            unit = standing.unit
            former = _managed(standing, request.agent_id)
            agent = attrs.evolve(former, active=False, updated_at=self.clock.now()) if former.active else former
            if agent is not former:
                await unit.agents.replace(agent)
                await self._record(unit, caller, "agent.deactivated", agent)
            owned = await unit.agents.belongings([agent.id])
        return AgentChanged(agent=view(agent, owned, whole=True))

    @operation("get_current_agent", toolset="agents", permission=Permission.AGENTS_READ, effect=Effect.READ)
    async def current(self, caller: Caller, request: GetCurrentAgent) -> CurrentAgent:  # noqa: ARG002 - asks for nothing
        """Tell who you are here, and what you may do."""
        async with self.storage.read() as snapshot:
            agent = await snapshot.agents.find(caller.agent_id)
            owned = await snapshot.agents.belongings([caller.agent_id])
        belongings = owned.get(caller.agent_id, Belongings())
        return CurrentAgent(
            agent_id=caller.agent_id,
            namespace=caller.namespace,
            role=next((role for role, rights in ROLES.items() if rights == caller.permissions), None),
            permissions=tuple(sorted(permission.value for permission in caller.permissions)),
            transport=caller.transport,
            registered=agent is not None,
            memories=belongings.memories,
            bytes=belongings.bytes,
        )

    async def _record(self, unit: UnitOfWork, caller: Caller, event_type: str, agent: Agent, **details: Detail) -> None:
        if self.audited:
            facts: dict[str, Detail] = {
                "agent": agent.id,
                "namespace": agent.namespace,
                "transport": caller.transport,
                **details,
            }
            event = AuditEvent(
                timestamp=self.clock.now(), event_type=event_type, agent_id=caller.agent_id, details=facts
            )
            await unit.audit([event])


def _visible(agent: Agent | None, caller: Caller, agent_id: str) -> Agent:
    if agent is None or not knows(caller, agent):
        raise AgentNotFound(agent_id=agent_id)
    return agent


def _managed(standing: Standing, agent_id: str) -> Agent:
    """Return an agent that the caller may change."""
    caller = standing.caller
    agent = _visible(standing.find(agent_id), caller, agent_id)
    if not caller.manages(agent.namespace) or not _reaches(caller, agent.role):
        raise Forbidden(action=f"change {agent.id}", needs="a role that is not below its own", name="agent_id")
    return agent


def _within(caller: Caller, namespace: str | None) -> str | None:
    """Return where to look for the agents of a namespace: nowhere else than where the caller could see some."""
    reach = None if caller.may(Permission.MANAGE_AGENTS) else caller.namespace
    if namespace is None or reach is None or is_within(reach, namespace):
        return reach or namespace
    return namespace if is_within(namespace, reach) else _NOWHERE


async def _visible_page(
    agents: Stored, caller: Caller, within: str | None, after: str | None, limit: int
) -> list[Agent]:
    """Return the first visible agents of a namespace and those below it, behind the id `after`."""
    found: list[Agent] = []
    while len(found) < limit:
        page = await agents.page(within, after=after, limit=limit)
        found += [agent for agent in page if knows(caller, agent)]
        if len(page) < limit:
            break
        after = page[-1].id
    return found[:limit]


def _reaches(caller: Caller, role: Role) -> bool:
    """Tell whether a role may do nothing that the caller may not."""
    return ROLES[role] <= caller.permissions


def _check_rights(caller: Caller, namespace: str, role: Role) -> None:
    if not caller.manages(namespace):
        raise Forbidden(
            action=f"manage agents of {namespace}", needs="an administrator of this namespace", name="namespace"
        )
    if not _reaches(caller, role):
        raise Forbidden(action=f"make an agent {role.value}", needs="a role that is not below it", name="role")


async def _check_claim(agents: Stored, caller: Caller, agent_id: str) -> None:
    """Refuse to register a name that others already share memories with: whoever has it reads those.

    They may have meant somebody who comes later, and who that is only they or an administrator can say. That the name
    is on a list is not for the caller to know: it is taken, as if somebody had it.
    """
    if not caller.may(Permission.MANAGE_AGENTS) and await agents.is_listed_outside(agent_id, caller.namespace):
        raise AgentExists(agent_id=agent_id)


def _check_update(request: UpdateAgent) -> None:
    if all(getattr(request, name) is None for name in CHANGEABLE):
        raise InvalidField(name="arguments", reason="change nothing", hint="Give at least one field to change")
    if request.active is False:
        raise InvalidField(name="active", reason="can only become true", hint="Use deactivate_agent")


def _differences(former: Agent, agent: Agent) -> dict[str, Detail]:
    names = [name for name in CHANGEABLE if getattr(former, name) != getattr(agent, name)]
    details: dict[str, Detail] = {"fields": ",".join(names)}
    if former.role is not agent.role:
        details |= {"role_from": former.role.value, "role_to": agent.role.value}
    if former.namespace != agent.namespace:
        details["namespace_from"] = former.namespace
    return details
