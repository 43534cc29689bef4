"""What the driver logs of calls that are given up: nothing, as giving up is no fault; faults are still told."""

import logging
from datetime import timedelta

import anyio
import psycopg
import pytest

from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres.connections import Connections, open_connections
from tmws_adapters.postgres.opener import Opener
from tmws_adapters.postgres.quiet import silence

pytestmark = pytest.mark.anyio

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


def is_waiting(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(_WAITING).fetchall() == [(1,)]


async def give_up(connections: Connections, url: str, kind: str) -> None:
    """Begin a question that takes long, alone or behind others, and cancel it once the server works on it."""

    async def ask() -> None:
        async with getattr(connections, kind)() as session:
            session.later("SELECT 1")
            await session.run("SELECT pg_sleep(60)")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            while not is_waiting(url):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["lookup", "snapshot", "unit"])
async def test_the_driver_says_nothing_of_a_call_that_is_given_up(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    with postgres.database() as url:
        opener = Opener(url=url, statement_timeout=timedelta(seconds=60))
        async with open_connections(opener, pool_size=3, max_overflow=0, patience=timedelta(seconds=60)) as connections:
            for _ in range(3):
                await give_up(connections, url, kind)
            async with connections.lookup() as session:
                assert await session.rows("SELECT 1") == [(1,)]
    assert caplog.messages == []


def test_the_driver_still_tells_of_faults(caplog: pytest.LogCaptureFixture) -> None:
    silence()
    said = (
        ("query cancellation interrupted (%s): closing connection", "OperationalError"),
        ("query cancellation failed: %s", "the server is gone"),
        ("error ignored in rollback on %s: %s", "a connection", "CancelledError"),
    )
    for message, *values in said:
        logging.getLogger("psycopg").warning(message, *values)
    assert len(caplog.messages) == len(said)
