"""In whose name a call runs, and with which rights."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import attrs

from tmws_core.domain.access import acting_for
from tmws_core.domain.agent import Agent, Caller, Permission, identified
from tmws_core.errors import Forbidden
from tmws_core.ports.agents import Agents
from tmws_core.ports.audit import Witness
from tmws_core.ports.holders import Holders
from tmws_core.ports.storage import Storage, UnitOfWork


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


async def foreseen(agents: Agents, caller: Caller, agent_id: str | None) -> Caller:
    """Return the caller, or the agent that it acts for, in the namespace where that agent is registered."""
    if agent_id is None or agent_id == caller.agent_id:
        return caller
    return acting_for(caller, agent_id, await agents.find(agent_id))


async def actor(agents: Agents, caller: Caller, agent_id: str | None, witness: Witness) -> Caller:
    """Return the same; the witness sees that it acts for another."""
    acting = await foreseen(agents, caller, agent_id)
    if acting is not caller:
        witness.saw(caller, "authorization.acted_for", acting_for=agent_id or "")
    return acting


@attrs.frozen
class Standing:
    """A unit of work, and the caller with the rights that it has until the unit ends."""

    unit: UnitOfWork
    caller: Caller
    _registered: Mapping[str, Agent]
    _witness: Witness

    def find(self, agent_id: str) -> Agent | None:
        """Return an agent that was asked for, or None."""
        return self._registered.get(agent_id)

    def actor(self, agent_id: str | None) -> Caller:
        """Return the caller, or the agent that it acts for, which was asked for; the witness sees that it does."""
        if agent_id is None or agent_id == self.caller.agent_id:
            return self.caller
        acting = acting_for(self.caller, agent_id, self.find(agent_id))
        self._witness.saw(self.caller, "authorization.acted_for", acting_for=agent_id)
        return acting


@attrs.frozen
class Writing:
    """Opens the units in which operations write: whoever lost a right since the call began does not use it.

    What a call did before, such as waiting for an embedder, has only prepared the unit: rights that are taken away
    later wait until the unit has ended.
    """

    storage: Storage
    witness: Witness

    @asynccontextmanager
    async def __call__(
        self,
        caller: Caller,
        permission: Permission,
        *,
        acting: Collection[str | None] = (),
        changing: Collection[str] = (),
    ) -> AsyncIterator[Standing]:
        """Open a unit for a caller and the agents that it acts for, or that are to be changed.

        Raises:
            AgentInactive: the caller was deactivated.
            Forbidden: it has lost the permission.
        """
        asked = {agent_id for agent_id in acting if agent_id is not None}
        if not caller.is_independent:
            asked.add(caller.agent_id)
        async with self.storage.write(caller.agent_id) as unit:
            registered = await unit.agents.registered(sorted(asked), changing=changing) if asked or changing else {}
            caller = identified(caller, registered.get(caller.agent_id))
            if not caller.may(permission):
                raise Forbidden(action="write", needs=f"the permission {permission.value}")
            yield Standing(unit, caller, registered, self.witness)
