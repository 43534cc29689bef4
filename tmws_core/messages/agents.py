"""Requests and answers about agents, and about who may see what."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from tmws_core.domain.agent import (
    AGENT_ID,
    CAPABILITIES,
    CAPABILITY,
    DESCRIPTION,
    DISPLAY_NAME,
    PROFILE_BYTES,
    Agent,
    Belongings,
    Role,
)
from tmws_core.domain.constraints import Items, JsonObject, Range
from tmws_core.domain.namespace import NAMESPACE
from tmws_core.messages.memory import CURSOR, MEMORY_ID, PAGE
from tmws_core.operation import Request

_ITEM_CAPABILITIES = Items(maximum=CAPABILITIES, each=CAPABILITY)


@attrs.frozen(kw_only=True)
class AgentView:
    """An agent as another one sees it; what stands below `capabilities` is for itself and for those who manage it."""

    agent_id: str
    namespace: str
    active: bool
    display_name: str | None
    description: str | None
    capabilities: tuple[str, ...]
    role: Role | None = None
    metadata: dict[str, Any] | None = None
    memories: int | None = None
    bytes: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.frozen(kw_only=True)
class AgentFound:
    """One agent."""

    success: bool = True
    agent: AgentView


@attrs.frozen(kw_only=True)
class GetAgent(Request[AgentFound]):
    """Which agent to look at."""

    agent_id: str = attrs.field(validator=AGENT_ID)


@attrs.frozen(kw_only=True)
class AgentPage:
    """A page of agents, by their ids; `next_cursor` is there while more follow."""

    success: bool = True
    agents: tuple[AgentView, ...]
    next_cursor: str | None = None


@attrs.frozen(kw_only=True)
class ListAgents(Request[AgentPage]):
    """Which agents to list."""

    namespace: str | None = attrs.field(default=None, validator=NAMESPACE)
    limit: int = attrs.field(default=20, validator=Range(1, PAGE))
    cursor: str | None = attrs.field(default=None, validator=CURSOR)


@attrs.frozen(kw_only=True)
class AgentChanged:
    """The change is stored, durably; this is the agent now."""

    success: bool = True
    agent: AgentView


@attrs.frozen(kw_only=True)
class RegisterAgent(Request[AgentChanged]):
    """Who is to be registered; without a namespace, in the caller's."""

    agent_id: str = attrs.field(validator=AGENT_ID)
    namespace: str | None = attrs.field(default=None, validator=NAMESPACE)
    role: Role = Role.AGENT
    display_name: str | None = attrs.field(default=None, validator=DISPLAY_NAME)
    description: str | None = attrs.field(default=None, validator=DESCRIPTION)
    capabilities: tuple[str, ...] = attrs.field(default=(), validator=_ITEM_CAPABILITIES)
    metadata: dict[str, Any] = attrs.field(factory=dict, validator=JsonObject(PROFILE_BYTES))


@attrs.frozen(kw_only=True)
class UpdateAgent(Request[AgentChanged]):
    """What to change; what is left out stays."""

    agent_id: str = attrs.field(validator=AGENT_ID)
    namespace: str | None = attrs.field(default=None, validator=NAMESPACE)
    role: Role | None = None
    display_name: str | None = attrs.field(default=None, validator=DISPLAY_NAME)
    description: str | None = attrs.field(default=None, validator=DESCRIPTION)
    capabilities: tuple[str, ...] | None = attrs.field(default=None, validator=_ITEM_CAPABILITIES)
    metadata: dict[str, Any] | None = attrs.field(default=None, validator=JsonObject(PROFILE_BYTES))
    active: bool | None = None


@attrs.frozen(kw_only=True)
class DeactivateAgent(Request[AgentChanged]):
    """In whose name nothing is to run any more."""

    agent_id: str = attrs.field(validator=AGENT_ID)


@attrs.frozen(kw_only=True)
class CurrentAgent:
    """Who calls, by which way, and with which rights; `role` is left out where they are those of no role."""

    success: bool = True
    agent_id: str
    namespace: str
    role: Role | None
    permissions: tuple[str, ...]
    transport: str
    registered: bool
    memories: int
    bytes: int


@attrs.frozen(kw_only=True)
class GetCurrentAgent(Request[CurrentAgent]):
    """Ask who the caller is."""


@attrs.frozen(kw_only=True)
class AccessExplained:
    """What an agent may do with a memory, and why."""

    success: bool = True
    memory_id: str
    agent_id: str
    allowed: bool
    reason: str
    sentence: str
    can_write: bool
    can_manage: bool


@attrs.frozen(kw_only=True)
class ExplainAccess(Request[AccessExplained]):
    """Which memory, and which agent."""

    memory_id: str = attrs.field(validator=MEMORY_ID)
    agent_id: str = attrs.field(validator=AGENT_ID)


def view(agent: Agent, owned: Mapping[str, Belongings], *, whole: bool) -> AgentView:
    """Return an agent as it is shown: `whole` to itself and to those who manage it."""
    public = AgentView(
        agent_id=agent.id,
        namespace=agent.namespace,
        active=agent.active,
        display_name=agent.display_name,
        description=agent.description,
        capabilities=agent.capabilities,
    )
    if not whole:
        return public
    belongings = owned.get(agent.id, Belongings())
    return attrs.evolve(
        public,
        role=agent.role,
        metadata=agent.metadata,
        memories=belongings.memories,
        bytes=belongings.bytes,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
    )


CHANGEABLE = ("namespace", "role", "display_name", "description", "capabilities", "metadata", "active")
"""What an update may change, by the names that request and agent share."""


def changed(former: Agent, request: UpdateAgent, now: datetime) -> Agent:
    """Return the agent after an update; the former one itself if nothing would be different."""
    given = {name: getattr(request, name) for name in CHANGEABLE if getattr(request, name) is not None}
    different = {name: value for name, value in given.items() if value != getattr(former, name)}
    return attrs.evolve(former, **different, updated_at=now) if different else former
