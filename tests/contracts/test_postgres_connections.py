"""What a pool of connections to PostgreSQL does with one that fails, is lost, or leads to another server by now."""

from contextlib import suppress
from datetime import timedelta

import anyio
import pytest

from tests.contracts.builders import memory, new
from tmws_adapters.postgres import open_postgres
from tmws_adapters.postgres.connections import Connections
from tmws_adapters.postgres.errors import ServerAway
from tmws_adapters.postgres.opener import Opener
from tmws_adapters.postgres.session import Session
from tmws_core.errors import StorageBusy, StorageUnavailable

pytestmark = pytest.mark.anyio

MOMENT = timedelta(milliseconds=200)

BROKEN = "SELECT 1 / 0"


async def test_a_unit_whose_failure_is_swallowed_is_not_acknowledged(connections: Connections) -> None:
    async def swallow() -> None:
        async with connections.unit() as session:
            with suppress(StorageUnavailable):
                await session.run(BROKEN)

    with pytest.raises(StorageUnavailable, match="22012"):
        await swallow()


async def test_who_waits_too_long_for_other_writes_of_its_agent_is_told(url: str) -> None:
    async with open_postgres(url, patience=MOMENT) as opened, opened.storage.write("eve"):
        with pytest.raises(StorageBusy, match="other writes of the agent eve"), anyio.fail_after(60):
            async with opened.storage.write("eve"):
                pass


async def test_what_is_lent_aside_takes_no_unit_from_others(url: str) -> None:
    async with (
        open_postgres(url, pool_size=1, max_overflow=0, patience=MOMENT) as opened,
        opened.storage.embedding() as alone,
        opened.storage.write() as unit,
    ):
        assert alone
        await unit.changes.add([new(memory())])


async def test_who_meets_a_replica_leaves_no_connection_to_it(connections: Connections) -> None:
    async with connections.snapshot() as one, connections.lookup() as other:
        await one.run("SELECT 1")
        await other.run("SELECT 1")
    assert connections.figures.idle == 2

    async def change() -> None:
        async with connections.unit() as session:
            session.later("SET LOCAL transaction_read_only = on")
            await session.run("CREATE TABLE kept ()")

    with pytest.raises(StorageUnavailable, match="takes no changes"):
        await change()
    assert connections.figures.idle == 0


async def test_where_one_connection_was_lost_the_others_prove_that_they_are_alive(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def proven(connection: object) -> bool:
        asked.append(connection)
        return True

    monkeypatch.setattr("tmws_adapters.postgres.connections._proven", proven)
    async with connections.snapshot() as one, connections.lookup() as other:
        await one.run("SELECT 1")
        await other.run("SELECT 1")
    async with connections.lookup() as session:
        await session.connection.close()
    async with connections.lookup():
        assert len(asked) == 1


async def test_each_time_that_the_server_is_away_is_waited_for(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, failures = Opener.connect, 0

    async def late(self: Opener) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ServerAway(part="postgresql", reason="away", hint="")
        return await connect(self)

    monkeypatch.setattr(Opener, "connect", late)
    connections.await_failover(timedelta(seconds=1))
    for _ in range(3):
        failures = 5
        async with connections.lookup() as session:
            await session.run("SELECT 1")
        await connections.close_idle()


async def test_an_answer_that_does_not_come_is_given_up(connections: Connections) -> None:
    async with connections.lookup() as session:
        impatient = Session(session.connection, "", MOMENT.total_seconds())
        with anyio.fail_after(60), pytest.raises(StorageUnavailable, match="connection to the server was lost"):
            await impatient.run("SELECT pg_sleep(30)")


async def test_a_connection_that_lay_idle_for_long_and_answers_no_more_is_lent_to_nobody(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mute(_: object) -> bool:
        return False

    async with connections.lookup() as session:
        await session.run("SELECT 1")
        former = session.connection
    monkeypatch.setattr("tmws_adapters.postgres.connections.TRUSTED", 0.0)
    monkeypatch.setattr("tmws_adapters.postgres.connections._proven", mute)
    async with connections.lookup() as session:
        assert session.connection is not former
    assert former.closed
