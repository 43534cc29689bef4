"""The agents of a store."""

from collections.abc import Collection, Sequence
from typing import Protocol

from tmws_core.domain.agent import Agent, Belongings


class Agents(Protocol):
    """The registered agents as one snapshot or transaction sees them; changes belong to a transaction only."""

    async def find(self, agent_id: str) -> Agent | None:
        """Return an agent, or None."""
        ...

    async def registered(self, agent_ids: Collection[str], *, changing: Collection[str] = ()) -> dict[str, Agent]:
        """Return by id those of the agents, `changing` ones included, that are registered.

        In a unit they, and that the others are not, stay as they are until it ends; units that only ask do not wait for
        each other. What the unit changes or registers itself has to be among those that it asks for as `changing`.
        """
        ...

    async def add(self, agent: Agent) -> None:
        """Register an agent; does nothing if it is known."""
        ...

    async def replace(self, agent: Agent) -> None:
        """Put an agent in the place of the one with its id, which must be known."""
        ...

    async def page(self, within: str | None, *, after: str | None, limit: int) -> list[Agent]:
        """Return at most `limit` agents in the order of their ids, beginning behind the id `after`.

        `within` narrows them to a namespace and those below it.
        """
        ...

    async def count(self) -> int:
        """Count the active agents."""
        ...

    async def seats_before(self, agent_id: str) -> int:
        """Count the active agents that were registered before this one: all of them if it is not an active one."""
        ...

    async def is_listed_outside(self, agent_id: str, namespace: str) -> bool:
        """Tell whether a memory is shared with an agent that lies outside a namespace and those below it."""
        ...

    async def belongings(self, agent_ids: Sequence[str]) -> dict[str, Belongings]:
        """Return what agents own, by id; those that own nothing are left out."""
        ...
