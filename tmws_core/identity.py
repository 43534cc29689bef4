"""In whose name a call runs."""

from tmws_core.domain.access import acting_for
from tmws_core.domain.agent import Caller
from tmws_core.ports.storage import Agents


async def actor(agents: Agents, caller: Caller, agent_id: str | None) -> Caller:
    """Return the caller, or the agent that it acts for, in the namespace where that agent is registered."""
    if agent_id is None or agent_id == caller.agent_id:
        return caller
    known = await agents.find(agent_id)
    return acting_for(caller, agent_id, known.namespace if known else caller.namespace)
