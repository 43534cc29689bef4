"""PostgreSQL that fails over, dies, or is cut off: nothing acknowledged is lost, and work goes on by itself."""

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.faults.journal import Journal, everything, note, settings_of
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_replica import Pair, kill, pair, port_of, revive
from tests.servers.proxy import Proxy, proxy_to
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.errors import (
    RequestTimedOut,
    StorageBusy,
    StorageInterrupted,
    StorageOutcomeUnknown,
    StorageUnavailable,
    TmwsError,
)
from tmws_core.messages.memory import CreateMemory, GetMemory
from tmws_core.messages.system import HealthCheck

pytestmark = pytest.mark.anyio

WRITERS = 8
DATABASE = "kept"

BACK = 2.0
"""Seconds after a failover in which changes are stored again."""

TIMEOUT = 4
"""Seconds that a request may take where connections lead nowhere."""

LIMIT = TIMEOUT / 2 + 5
"""Seconds after which the answer to a commit is not waited for any more."""

SLOW = 3
"""How much longer that may take on a busy machine."""


@attrs.define
class Writing:
    """Writers that store notes one after the other until they are told to stop."""

    app: App
    settings: Settings
    journal: Journal = attrs.Factory(Journal)
    sent: set[str] = attrs.Factory(set)
    failures: list[TmwsError] = attrs.Factory(list)
    stored: Counter[str] = attrs.Factory(Counter)
    stop: bool = False

    async def write(self, writer: str) -> None:
        caller, number = self.settings.operator(), 0
        while not self.stop:
            content = note(writer, number)
            self.sent.add(content)
            key = f"{writer} {number}" if number % 2 else None
            try:
                answer = await self.app.call(caller, CreateMemory(content=content, idempotency_key=key))
            except (StorageUnavailable, RequestTimedOut) as error:
                self.failures.append(error)
                # One with a key is repeated, as the errors say.
                number += key is None
                continue
            self.journal.acknowledge(answer.memory_id, content)
            self.stored[writer] += 1
            number += 1

    async def until_all_write(self) -> None:
        """Wait until each writer has stored something more."""
        former = dict(self.stored)
        while any(self.stored[writer] <= former[writer] for writer in former):  # noqa: ASYNC110 - as in until_more
            await anyio.sleep(0.01)

    async def until_more(self, count: int = 20) -> float:
        """Wait until so many more are stored, and return how many seconds the first of them took."""
        began, wanted, first = time.monotonic(), len(self.journal.entries), 0.0
        with anyio.fail_after(60):
            while len(self.journal.entries) < wanted + count:
                if len(self.journal.entries) > wanted and not first:
                    first = time.monotonic() - began
                await anyio.sleep(0.01)
        return first


@pytest.fixture
def servers() -> Iterator[Pair]:
    with pair() as started:
        started.create(DATABASE)
        yield started


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[Writing]:
    """Let writers write during the block."""
    async with open_app(settings) as app:
        work = Writing(app, settings)
        async with anyio.create_task_group() as tasks:
            for number in range(WRITERS):
                tasks.start_soon(work.write, f"writer{number}")
            await work.until_more()
            yield work
            work.stop = True


async def check(work: Writing, settings: Settings) -> None:
    """Check that all that was acknowledged is there, once, and nothing else but what was sent."""
    async with open_app(settings) as app:
        stored = await everything(app, settings)
    assert not work.journal.entries.items() - stored.items()
    assert len(set(stored.values())) == len(stored)
    assert set(stored.values()) <= work.sent
    # Who has not heard that a connection is lost holds its locks for a while.
    told = {StorageInterrupted, StorageOutcomeUnknown, StorageBusy, RequestTimedOut}
    assert {type(each) for each in work.failures} <= told


def settings_for(home: Path, embedding: dict[str, str], url: str, *replicas: str, **more: str) -> Settings:
    return settings_of(home, TMWS_DATABASE_URL=url, TMWS_DATABASE_URL_READ=",".join(replicas), **embedding, **more)


async def test_a_replica_that_is_promoted_under_writers_has_all_that_was_acknowledged(
    servers: Pair, home: Path, embedding: dict[str, str]
) -> None:
    url = servers.primary.url(DATABASE)
    servers.commit_on_both()
    settings = settings_for(home, embedding, servers.url(url), servers.replica_url(url))
    async with writing(settings) as work:
        kill(servers.primary)
        began = time.monotonic()
        await anyio.to_thread.run_sync(servers.replica.promote)
        failover = time.monotonic() - began
        back = await work.until_more()

    assert back < failover + BACK * SLOW
    # Those in flight fail, and no others: all who come later wait.
    assert len(work.failures) <= WRITERS
    await check(work, settings)


async def test_a_primary_that_dies_and_comes_back_keeps_what_was_acknowledged(
    servers: Pair, home: Path, embedding: dict[str, str]
) -> None:
    url = servers.primary.url(DATABASE)
    settings = settings_for(home, embedding, url, servers.replica_url(url))
    async with writing(settings) as work:
        kill(servers.primary)
        memory_id, content = next(iter(work.journal.entries.items()))
        found = await work.app.call(settings.operator(), GetMemory(memory_id=memory_id))
        assert found.memory.content == content
        report = await work.app.call(settings.operator(), HealthCheck())
        await anyio.to_thread.run_sync(revive, servers.primary)
        back = await work.until_more()

    assert report.status == "degraded"
    assert "read from a replica" in str(report.components["postgresql"].reason)
    assert back < BACK * SLOW
    assert len(work.failures) <= WRITERS
    await check(work, settings)


async def test_a_server_that_stays_away_is_waited_for_once_and_the_health_report_does_not_wait(
    servers: Pair, home: Path, embedding: dict[str, str]
) -> None:
    url = servers.primary.url(DATABASE)
    settings = settings_for(home, embedding, url, TMWS_DB_FAILOVER_SECONDS="15", TMWS_REQUEST_TIMEOUT="60")
    async with open_app(settings) as app:
        caller = settings.operator()
        await app.call(caller, CreateMemory(content="The rose blooms."))
        kill(servers.primary)
        with anyio.fail_after(12):
            report = await app.call(caller, HealthCheck())
        with pytest.raises(StorageUnavailable):
            await app.call(caller, CreateMemory(content="The lily blooms."))
        began = time.monotonic()
        for _ in range(5):
            with pytest.raises(StorageUnavailable):
                await app.call(caller, CreateMemory(content="The lily blooms."))
        at_once = time.monotonic() - began
        await anyio.to_thread.run_sync(revive, servers.primary)
        await app.call(caller, CreateMemory(content="The lily blooms."))

    assert report.status == "unhealthy"
    # One that waited would take 15 seconds.
    assert at_once < 15


async def test_connections_that_break_at_random_lose_nothing(
    servers: Pair, home: Path, embedding: dict[str, str], chance: random.Random
) -> None:
    async with (
        proxy_to(int(port_of(servers.primary))) as primary,
        proxy_to(int(port_of(servers.replica))) as replica,
    ):
        settings = settings_for(home, embedding, at(servers.primary, primary), at(servers.replica, replica))
        async with writing(settings) as work:
            for _ in range(10):
                await anyio.sleep(chance.uniform(0, 0.3))
                primary.cut()
                replica.cut()
                await work.until_more()
                memory_id, content = chance.choice(sorted(work.journal.entries.items()))
                found = await work.app.call(settings.operator(), GetMemory(memory_id=memory_id))
                assert found.memory.content == content
        await check(work, settings)


async def test_connections_that_lead_nowhere_any_more_hold_nobody_up_for_ever(
    servers: Pair, home: Path, embedding: dict[str, str]
) -> None:
    async with proxy_to(int(port_of(servers.primary))) as proxy:
        settings = settings_for(home, embedding, at(servers.primary, proxy), TMWS_REQUEST_TIMEOUT=str(TIMEOUT))
        async with writing(settings) as work:
            assert proxy.swallow() >= WRITERS
            with anyio.fail_after(LIMIT * SLOW):
                await work.until_all_write()
        await check(work, settings)
    assert work.failures


async def test_a_call_that_loses_its_connection_says_what_became_of_it(
    servers: Pair, home: Path, embedding: dict[str, str]
) -> None:
    async with proxy_to(int(port_of(servers.primary))) as proxy:
        settings = settings_for(home, embedding, at(servers.primary, proxy))
        caller, request = settings.operator(), CreateMemory(content="The rose blooms.", idempotency_key="rose")
        async with open_app(settings) as app:
            proxy.cut_behind(b"INSERT INTO memories_v2")
            with pytest.raises(StorageInterrupted, match="nothing was changed"):
                await app.call(caller, request)
            assert await everything(app, settings) == {}

            proxy.cut_behind(b"COMMIT\0")
            with pytest.raises(StorageOutcomeUnknown, match="idempotency_key"):
                await app.call(caller, request)
            answer = await app.call(caller, request)
            assert await everything(app, settings) == {answer.memory_id: request.content}

            # What only reads is repeated.
            proxy.cut_behind(b"WHERE m.id =")
            found = await app.call(caller, GetMemory(memory_id=answer.memory_id))
            assert found.memory.content == request.content


def at(server: PostgresServer, proxy: Proxy) -> str:
    return server.url(DATABASE).replace(f":{port_of(server)}/", f":{proxy.port}/")
