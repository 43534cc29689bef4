"""A failover under readers and writers, of whom some come through PgBouncer: nobody meets what was there before it."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta

import anyio
import attrs
import pytest

from tests.contracts.builders import EVERYTHING, memory, new, scope, vector
from tests.contracts.steps import get, store
from tests.contracts.test_pgbouncer import at
from tests.servers.pgbouncer import pgbouncer
from tests.servers.postgres_replica import Pair, kill, pair, port_of
from tests.servers.proxy import proxy_to
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_core.domain.memory import Memory
from tmws_core.errors import StorageInterrupted, StorageOutcomeUnknown

pytestmark = pytest.mark.anyio

LIMIT = timedelta(seconds=120)
"""Only a hang takes so long."""

MORE = 8
"""Memories that each client stores, and reads, before the failover and behind it: the driver prepares what it has run
five times."""

IDLE = 3
"""Connections that each client has lying idle while the server fails over."""


@pytest.fixture
def servers() -> Iterator[Pair]:
    with pair() as started:
        started.commit_on_both()
        yield started


@attrs.define
class Client:
    """Stores and reads all the time; everybody reads what anybody was told to be stored."""

    opened: PostgresStore
    owner: str
    told: list[Memory]
    failed: list[Exception] = attrs.Factory(list)
    rounds: int = 0

    async def work(self, done: anyio.Event) -> None:
        while not done.is_set():
            try:
                stored = memory(agent_id=self.owner)
                await store(self.opened.storage, new(stored, vector=vector(1, 0, 0, 0)))
                self.told.append(stored)
                for each in self.told[-3:]:
                    assert (await get(self.opened.storage, each.id)).content == each.content
                assert await self.opened.lexical.search(scope(agent_id=self.owner), ["memory"], 3)
            except (StorageInterrupted, StorageOutcomeUnknown) as error:
                self.failed.append(error)
            else:
                self.rounds += 1

    async def fill_the_pool(self) -> None:
        """Read over several connections at once, as often as on those that are always in use."""
        async with AsyncExitStack() as stack:
            for _ in range(IDLE):
                snapshot = await stack.enter_async_context(self.opened.storage.read())
                for _ in range(MORE):
                    await snapshot.memories.get(self.told[0].id, EVERYTHING)


async def test_nobody_is_answered_from_what_was_prepared_or_begun_before_a_failover(servers: Pair) -> None:
    created = servers.create("failed_over")
    done, told = anyio.Event(), list[Memory]()
    async with proxy_to(int(port_of(servers.primary))) as proxy:
        with (
            pgbouncer(servers.primary, connections=2 * IDLE, behind=proxy.port) as port,
            anyio.fail_after(LIMIT.total_seconds()),
        ):
            async with (
                open_postgres(servers.url(created), failover=LIMIT) as direct,
                open_postgres(at(created, "127.0.0.1", port), failover=LIMIT) as pooled,
                anyio.create_task_group() as tasks,
            ):
                clients = [Client(direct, "ada", told), Client(pooled, "eve", told)]
                for each in clients:
                    tasks.start_soon(each.work, done)
                await until_more(clients)
                for each in clients:
                    await each.fill_the_pool()
                async with direct.storage.read() as one, pooled.storage.read() as other:
                    for snapshot in (one, other):
                        await snapshot.memories.get(told[0].id, EVERYTHING)
                    kill(servers.primary)
                    await anyio.to_thread.run_sync(servers.replica.promote)
                    proxy.server = int(port_of(servers.replica))
                    await until_more(clients)
                    for snapshot in (one, other):
                        with pytest.raises(StorageInterrupted):
                            await snapshot.memories.get(told[0].id, EVERYTHING)
                done.set()


async def until_more(clients: list[Client]) -> None:
    wanted = [each.rounds + MORE for each in clients]
    while any(each.rounds < rounds for each, rounds in zip(clients, wanted, strict=True)):  # noqa: ASYNC110 - two conditions
        await anyio.sleep(0.01)
