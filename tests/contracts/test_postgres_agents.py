"""An agent that two servers register at the same time, over connections of their own."""

import attrs
import pytest

from tests.contracts.audit_steps import SetClock
from tests.contracts.builders import DAY
from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres import open_postgres
from tmws_core.admission import Admission
from tmws_core.domain.agent import Agent, Role, operator
from tmws_core.domain.license import License, Tier
from tmws_core.errors import AgentExists
from tmws_core.identity import Writing
from tmws_core.messages.agents import RegisterAgent
from tmws_core.messages.paging import Cursors
from tmws_core.ports.audit import AuditFilter
from tmws_core.ports.storage import Storage
from tmws_core.services.agents import Agents
from tmws_core.trail import Trail

pytestmark = pytest.mark.anyio

FIRST = Agent(id="hera", namespace="globex", created_at=DAY, updated_at=DAY)


@attrs.frozen
class Overtaken:
    """A licence source: while it is asked, another server registers the agent, as older ones do without a lock."""

    other: Storage

    async def current(self) -> License:
        async with self.other.write() as unit:
            await unit.agents.add(FIRST)
        return License(tier=Tier.ENTERPRISE, status="valid", seats=None, features=())


async def test_only_an_agent_that_was_stored_is_answered_and_told_to_the_audit_log(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_postgres(url) as opened, open_postgres(url) as other:
            clock = SetClock(DAY)
            trail = Trail(storage=opened.storage, clock=clock, enabled=False)
            service = Agents(
                storage=opened.storage,
                writing=Writing(opened.storage, trail),
                clock=clock,
                admission=Admission(license=Overtaken(other.storage)),
                cursors=Cursors(no_keys),
                audited=True,
            )
            wanted = RegisterAgent(agent_id=FIRST.id, namespace="acme", role=Role.ADMIN)

            with pytest.raises(AgentExists):
                await service.register(operator("ada", "acme", "python"), wanted)

            async with opened.storage.read() as snapshot:
                assert await snapshot.agents.find(FIRST.id) == FIRST
                assert await snapshot.audit_log.page(AuditFilter(), before=None, limit=9) == []


async def no_keys() -> tuple[bytes, ...]:
    return ()
