"""Why an agent can or cannot see a memory, told to those who may know."""

import attrs

from tmws_core.domain.access import knows, may_manage, may_write, relation, visibility_of
from tmws_core.domain.agent import ROLES, Caller, Permission
from tmws_core.domain.memory import AccessLevel, Memory
from tmws_core.errors import AgentNotFound, InvalidField, MemoryNotFound
from tmws_core.messages.agents import AccessExplained, ExplainAccess
from tmws_core.operation import Effect, operation
from tmws_core.ports.agents import Agents
from tmws_core.ports.storage import Storage

SENTENCES = {
    "owner": "It owns the memory.",
    "team": "It belongs to the memory's namespace, and a team memory is read by its namespace.",
    "shared": "It is on the memory's list.",
    "public": "Every agent reads a public memory.",
    "system": "Every agent reads a system memory.",
    "administrator": "Administrators read every memory.",
    "private": "Only its owner and administrators read a private memory.",
    "other_namespace": "A team memory is read by agents of exactly its namespace, and it belongs to another one.",
    "not_listed": "A shared memory is read by the agents on its list, and it is not on it.",
    "inactive": "It was deactivated, and nothing runs in its name.",
}
"""By reason: what it means; the reasons are stable."""

_REFUSALS = {
    AccessLevel.PRIVATE: "private",
    AccessLevel.TEAM: "other_namespace",
    AccessLevel.SHARED: "not_listed",
}


@attrs.frozen(kw_only=True)
class Explaining:
    """Explains the policy for one memory and one agent."""

    storage: Storage

    @operation(
        "explain_access",
        toolset="agents",
        permission=Permission.MEMORY_READ,
        effect=Effect.READ,
        raises=(MemoryNotFound, AgentNotFound, InvalidField),
    )
    async def explain(self, caller: Caller, request: ExplainAccess) -> AccessExplained:
        """Tell why an agent can or cannot see a memory; for the memory's owner and for administrators."""
        async with self.storage.read() as snapshot:
            memory = await snapshot.memories.get(request.memory_id, visibility_of(caller))
            if memory.agent_id != caller.agent_id and not caller.may(Permission.READ_ALL):
                raise MemoryNotFound(memory_id=memory.id)
            reader = await _reader(snapshot.agents, caller, request.agent_id, memory)
        reason = "inactive" if reader is None else reason_of(reader, memory)
        allowed = reader is not None and visibility_of(reader).includes(memory)
        return AccessExplained(
            memory_id=memory.id,
            agent_id=request.agent_id,
            allowed=allowed,
            reason=reason,
            sentence=SENTENCES[reason],
            can_write=reader is not None and allowed and may_write(reader, memory),
            can_manage=reader is not None and allowed and may_manage(reader, memory),
        )


def reason_of(reader: Caller, memory: Memory) -> str:
    """Return the word for why an agent sees a memory, or does not."""
    visibility = visibility_of(reader)
    seen_as = relation(visibility, memory)
    if seen_as is not None:
        return seen_as
    return "administrator" if visibility.everything else _REFUSALS[memory.access_level]


async def _reader(agents: Agents, caller: Caller, agent_id: str, memory: Memory) -> Caller | None:
    """Return the agent as a caller, or None if it is not active.

    One that the asking agent cannot see is not found, whether there is one or not, unless it is on the memory's list:
    then the asking agent knows its id, and learns nothing but that.
    """
    if agent_id == caller.agent_id:
        return caller
    agent = await agents.find(agent_id)
    if agent is not None and knows(caller, agent):
        reader = Caller(agent_id=agent.id, namespace=agent.namespace, permissions=ROLES[agent.role])
        return reader if agent.active else None
    if memory.access_level is AccessLevel.SHARED and any(share.agent_id == agent_id for share in memory.shared_with):
        return Caller(agent_id=agent_id, namespace=caller.namespace)
    raise AgentNotFound(agent_id=agent_id)
