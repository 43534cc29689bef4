"""A server that cannot tell its timeline is used without; one that does not answer now is no such server."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres import positions
from tmws_adapters.postgres.connections import Connections, open_connections
from tmws_adapters.postgres.opener import Opener
from tmws_adapters.postgres.positions import NO_TIMELINE, TIMELINE, timeline_of
from tmws_core.errors import StorageBusy

pytestmark = pytest.mark.anyio

PATIENCE = timedelta(seconds=60)


@pytest.fixture
async def connections(postgres: PostgresServer) -> AsyncIterator[Connections]:
    """Connections to a server with functions that raise a condition each."""
    with postgres.database() as url:
        opener = Opener(url=url, statement_timeout=PATIENCE)
        async with open_connections(opener, pool_size=1, max_overflow=0, patience=PATIENCE) as opened:
            async with opened.unit() as session:
                for condition in ("insufficient_privilege", "feature_not_supported", "lock_not_available"):
                    body = f"$$ BEGIN RAISE {condition}; END $$"
                    await session.run(f"CREATE FUNCTION {condition}() RETURNS integer LANGUAGE plpgsql AS {body}")
            yield opened


async def test_a_busy_server_is_not_taken_for_one_that_cannot_tell(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await timeline_of(connections) == TIMELINE

    monkeypatch.setattr(positions, "TIMELINE", "lock_not_available()")
    with pytest.raises(StorageBusy):
        await timeline_of(connections)


@pytest.mark.parametrize("refusal", ["insufficient_privilege()", "feature_not_supported()", "no_such_function()"])
async def test_a_server_that_refuses_to_tell_is_used_without(
    connections: Connections, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr(positions, "TIMELINE", refusal)

    assert await timeline_of(connections) == NO_TIMELINE
