"""Who may write, and how much: asked inside the transaction that writes, so that two at once cannot exceed it."""

from collections.abc import Iterable, Mapping

import attrs

from tmws_core.domain.agent import Agent, Belongings
from tmws_core.errors import LicenseLimit, QuotaExceeded
from tmws_core.ports.agents import Agents
from tmws_core.ports.license import LicenseSource

OTHERS = 0.5
"""The part of an owner's quota of bytes up to which others may change its memories: the rest is the owner's alone."""


@attrs.frozen
class Quota:
    """What one agent may own: memories, and bytes of their contents and metadata; 0 is any number."""

    memories: int = 0
    bytes: int = 0


@attrs.frozen(kw_only=True)
class Admission:
    """The seats of the licence and the quotas of the settings.

    The agents that were registered first have the seats: they keep them when a licence shrinks.
    """

    license: LicenseSource
    quota: Quota = Quota()

    async def seat(self, agents: Agents, agent_id: str) -> None:
        """Check that an agent has a seat, or, if it is not an active one, that there is one for it.

        Raises:
            LicenseLimit: there is none.
        """
        license_ = await self.license.current()
        if license_.seats is not None and await agents.seats_before(agent_id) >= license_.seats:
            raise LicenseLimit(tier=license_.title, limit=license_.seats, agent_id=agent_id)

    async def register(self, agents: Agents, agent: Agent) -> None:
        """Register an agent that may write from now on; does nothing if it is known and has a seat.

        Raises:
            LicenseLimit: there is no seat for it.
        """
        await self.seat(agents, agent.id)
        await agents.add(agent)

    async def belongings(self, agents: Agents, agent_ids: Iterable[str]) -> Mapping[str, Belongings]:
        """Return what agents own, for `check`; nothing where there is no quota."""
        return await agents.belongings(list(agent_ids)) if self.quota != Quota() else {}

    async def check(
        self,
        agents: Agents,
        agent_ids: Iterable[str],
        former: Mapping[str, Belongings] | None = None,
        *,
        by_other: bool = False,
    ) -> None:
        """Check what agents own now against their quotas, where it is more than formerly.

        What grows `by_other` than its owner may fill OTHERS of a quota of bytes: the former texts that such a change
        keeps are the owner's, and nobody can delete them alone.

        Raises:
            QuotaExceeded: it is too much.
        """
        room = int(self.quota.bytes * OTHERS) if by_other else self.quota.bytes
        for agent_id, owned in (await self.belongings(agents, agent_ids)).items():
            before = (former or {}).get(agent_id, Belongings())
            if self.quota.memories and owned.memories > max(self.quota.memories, before.memories):
                raise QuotaExceeded(agent_id=agent_id, what="memories", limit=self.quota.memories)
            if self.quota.bytes and owned.bytes > max(room, before.bytes):
                raise QuotaExceeded(agent_id=agent_id, what="bytes", limit=room, by_other=by_other)
