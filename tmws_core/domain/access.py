"""Who may see and change what: the policy, pure, and in a form that a store can turn into a predicate."""

from datetime import datetime

import attrs

from tmws_core.domain.agent import AGENT_PERMISSIONS, ROLES, Agent, Caller, Permission
from tmws_core.domain.memory import AccessLevel, Memory, MemoryFilter, SharePermission
from tmws_core.errors import AgentInactive, Forbidden


@attrs.frozen
class Visibility:
    """The set of memories that one caller may read.

    A store translates it into its own predicate; `includes` is the meaning which that predicate must have. With
    `everything` the caller reads all memories and the other fields do not matter.
    """

    agent_id: str
    namespace: str
    everything: bool = False

    def includes(self, memory: Memory) -> bool:
        """Tell whether the memory belongs to the set."""
        if self.everything or memory.agent_id == self.agent_id:
            return True
        match memory.access_level:
            case AccessLevel.PRIVATE:
                return False
            case AccessLevel.TEAM:
                return memory.namespace == self.namespace
            case AccessLevel.SHARED:
                return any(share.agent_id == self.agent_id for share in memory.shared_with)
            case AccessLevel.PUBLIC | AccessLevel.SYSTEM:
                return True


@attrs.frozen(kw_only=True)
class Scope:
    """What a list or a search may return: visible to the caller, inside the filter, and in force.

    A memory that had expired at `at` is outside, and so is one that has been superseded, unless the filter includes
    them. With `historic` the scope is the world at `at`: rows created later are outside, and rows superseded later are
    inside. Without it the clock of the moment does not matter to either, so a clock that steps back hides nothing.
    """

    visibility: Visibility
    filter: MemoryFilter
    at: datetime
    historic: bool = False


def acting_for(caller: Caller, agent_id: str, agent: Agent | None) -> Caller:
    """Return the caller for a call in another agent's name: it sees what that agent sees.

    It may do what both may do. An agent that is not registered is an ordinary one of the caller's namespace. Whoever
    manages a namespace acts for those of its agents that may do nothing that it may not. Raises Forbidden, also for an
    agent that was deactivated.
    """
    namespace = caller.namespace if agent is None else agent.namespace
    rights = AGENT_PERMISSIONS if agent is None else ROLES[agent.role]
    managed = agent is not None and caller.manages(namespace) and rights <= caller.permissions
    if not caller.may(Permission.ACT_FOR_OTHERS) and not managed:
        action = f"act for another agent than {caller.agent_id}, as whom you call without agent_id"
        raise Forbidden(action=action, needs="the right to act for others", name="agent_id")
    if agent is not None and not agent.active:
        raise AgentInactive(action=f"act for {agent_id}", needs="an active agent", name="agent_id")
    return attrs.evolve(caller, agent_id=agent_id, namespace=namespace, permissions=rights & caller.permissions)


def visibility_of(caller: Caller) -> Visibility:
    """Return what a caller may read."""
    return Visibility(caller.agent_id, caller.namespace, everything=caller.may(Permission.READ_ALL))


def relation(visibility: Visibility, memory: Memory) -> str | None:
    """Return why a memory is visible: `owner`, or its access level; None where only the right to read all shows it."""
    if memory.agent_id == visibility.agent_id:
        return "owner"
    return memory.access_level.value if attrs.evolve(visibility, everything=False).includes(memory) else None


def may_write(caller: Caller, memory: Memory) -> bool:
    """Tell whether a caller that sees a memory may change its text and labels."""
    if not caller.may(Permission.MEMORY_WRITE):
        return False
    if may_manage(caller, memory):
        return True
    return memory.access_level is AccessLevel.SHARED and any(
        share.agent_id == caller.agent_id and share.permission is SharePermission.WRITE for share in memory.shared_with
    )


def may_manage(caller: Caller, memory: Memory) -> bool:
    """Tell whether a caller that sees a memory may delete it, let it end, share it or change who sees it."""
    if not caller.may(Permission.MEMORY_WRITE):
        return False
    if memory.access_level is AccessLevel.SYSTEM:
        return caller.may(Permission.ADMINISTER)
    return memory.agent_id == caller.agent_id or caller.may(Permission.ADMINISTER)


def knows(caller: Caller, agent: Agent) -> bool:
    """Tell whether an agent exists for a caller: itself, those of its namespace, and those that it manages."""
    return agent.namespace == caller.namespace or knows_whole(caller, agent)


def knows_whole(caller: Caller, agent: Agent) -> bool:
    """Tell whether a caller may see what an agent may do, what it owns, and its metadata."""
    return agent.id == caller.agent_id or caller.manages(agent.namespace)
