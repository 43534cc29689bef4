"""In whose name a call runs, and with which rights."""

import attrs

from tmws_core.domain.access import acting_for
from tmws_core.domain.agent import Caller, identified
from tmws_core.ports.agents import Agents
from tmws_core.ports.audit import Witness
from tmws_core.ports.holders import Holders


@attrs.frozen
class Registry:
    """Gives callers the rights that their registration says they have."""

    holders: Holders

    async def identify(self, caller: Caller) -> Caller:
        """Return the caller with its rights; AgentInactive if it was deactivated."""
        if caller.identified:
            return caller
        holder, _ = await self.holders.of_token(caller.agent_id, None)
        return identified(caller, holder)


async def actor(agents: Agents, caller: Caller, agent_id: str | None, witness: Witness) -> Caller:
    """Return the caller, or the agent that it acts for, in the namespace where that agent is registered.

    The witness sees that it acts for another.
    """
    if agent_id is None or agent_id == caller.agent_id:
        return caller
    acting = acting_for(caller, agent_id, await agents.find(agent_id))
    witness.saw(caller, "authorization.acted_for", acting_for=agent_id)
    return acting
