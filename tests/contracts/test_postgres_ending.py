"""A PostgreSQL server that says nothing any more: whoever ends meanwhile does not wait for its word."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import pytest

from tests.contracts.builders import DAY
from tests.contracts.test_pgbouncer import at
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_replica import port_of
from tests.servers.proxy import Proxy, proxy_to
from tmws_adapters.postgres import open_postgres
from tmws_core.domain.audit import AuditEvent
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

LIMIT = 60
"""Seconds that only a hang reaches."""

READ = AuditEvent(timestamp=DAY, event_type="memory.read", agent_id="ada", details={})


async def embed(storage: Storage, proxy: Proxy) -> None:
    async with storage.embedding():
        proxy.swallow()


async def note(storage: Storage, proxy: Proxy) -> None:
    with anyio.CancelScope() as scope:
        async with storage.write() as unit:
            await unit.audit([READ])
            proxy.swallow()
            scope.cancel()


@pytest.mark.parametrize("work", [embed, note])
async def test_what_is_begun_is_given_up(
    postgres: PostgresServer, work: Callable[[Storage, Proxy], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.session.UNDOING", 0.1)
    ended = anyio.Event()
    with postgres.database() as url:
        async with proxy_to(int(port_of(postgres))) as proxy, anyio.create_task_group() as tasks:

            async def begin() -> None:
                there = at(url, "127.0.0.1", proxy.port)
                async with open_postgres(there, patience=timedelta(hours=1)) as opened:
                    await work(opened.storage, proxy)
                ended.set()

            tasks.start_soon(begin)
            try:
                with anyio.fail_after(LIMIT):
                    await ended.wait()
            finally:
                proxy.cut()
