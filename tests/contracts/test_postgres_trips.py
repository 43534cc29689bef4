"""How a unit of work goes to the server: in few trips, and with the errors of what travelled along."""

import os
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import anyio
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.contracts.builders import MODEL, fingerprint, memory, new, vector
from tests.contracts.steps import store
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_adapters.postgres.connections import Connections, open_connections
from tmws_adapters.postgres.opener import Opener
from tmws_core.domain.agent import Agent
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.memory import Memory
from tmws_core.errors import StorageBusy, StorageUnavailable
from tmws_core.ports.health import PoolFigures
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

MOMENT = timedelta(milliseconds=200)

BROKEN = "SELECT 1 / 0"


async def create(storage: Storage, stored: Memory) -> None:
    """Store a memory as the service does."""
    async with storage.write() as unit:
        await unit.memories.known([fingerprint(stored)])
        await unit.use_model(MODEL)
        now = stored.created_at
        await unit.agents.add(Agent(id=stored.agent_id, namespace=stored.namespace, created_at=now, updated_at=now))
        await unit.changes.add([new(stored, vector=vector(1, 0, 0, 0))])
        await unit.audit([AuditEvent(timestamp=now, event_type="memory.created", agent_id=stored.agent_id, details={})])


@pytest.mark.parametrize(("level", "had"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
async def test_a_commit_waits_for_the_disk_whatever_the_server_is_set_to(url: str, level: str, had: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(
            f"""
            DO $$ BEGIN
                EXECUTE format('ALTER DATABASE %I SET synchronous_commit = {level}', current_database());
            END $$;
            CREATE TABLE written (by_then text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                UPDATE written SET by_then = current_setting('synchronous_commit'); RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION note()
            """.encode()
        )
        opener = Opener(url=url, statement_timeout=timedelta(seconds=30), lock_timeout=MOMENT)
        async with open_connections(opener, pool_size=1, max_overflow=0, patience=timedelta(seconds=30)) as opened:
            await run_later(opened, "INSERT INTO written VALUES ('')")

        assert owner.execute("SELECT by_then FROM written").fetchall() == [(had,)]


async def run_later(connections: Connections, *statements: str) -> None:
    """Run statements in one unit, and so in the trip of its commit."""
    async with connections.unit() as session:
        for each in statements:
            session.later(each)


async def test_storing_a_memory_takes_five_trips_to_the_server(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = tmp_path / "messages"
    descriptor = os.open(messages, os.O_WRONLY | os.O_CREAT)
    connect = Opener.connect

    async def traced(self: Opener) -> "psycopg.AsyncConnection[object]":
        connection = await connect(self)
        connection.pgconn.trace(descriptor)
        return connection

    monkeypatch.setattr(Opener, "connect", traced)
    async with open_postgres(url) as opened:
        await create(opened.storage, memory())
        os.truncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        await create(opened.storage, memory(content="another one"))
        trips = messages.read_text().count("ReadyForQuery")
    os.close(descriptor)

    assert trips == 5


async def test_units_that_ask_for_the_same_agent_do_not_wait_for_each_other(url: str) -> None:
    async with open_postgres(url) as opened, opened.storage.write() as unit:
        await unit.agents.registered(["ada"])
        async with opened.storage.write() as other:
            assert await other.agents.registered(["ada"]) == {}


async def test_a_failure_of_what_travelled_along_is_told_as_what_it_is(connections: Connections) -> None:
    async with connections.lookup() as session:
        await session.run("CREATE TABLE kept (number integer)")
    with pytest.raises(StorageUnavailable, match="22012"):
        await run_later(connections, "INSERT INTO kept VALUES (1)", BROKEN, "INSERT INTO kept VALUES (2)")

    async with connections.lookup() as session:
        assert await session.rows("SELECT * FROM kept") == []


async def test_the_first_of_several_failures_is_told(connections: Connections) -> None:
    async with connections.snapshot() as session:
        session.later("SELECT pg_sleep(0.05)")
        session.later(BROKEN)
        session.later("SELECT * FROM no_such_table")
        with pytest.raises(StorageUnavailable, match="22012"):
            await session.rows("SELECT 1")
        with pytest.raises(StorageUnavailable, match="22012"):
            await session.rows("SELECT 2")


async def test_a_lock_that_is_not_given_is_told_as_busy(connections: Connections) -> None:
    lock = "SELECT pg_advisory_xact_lock(1, 1)"
    async with connections.unit() as holder:
        await holder.run(lock)
        with pytest.raises(StorageBusy, match="55P03"):
            await run_later(connections, lock)


async def test_connections_beyond_those_that_are_kept_are_closed_when_they_come_back(url: str) -> None:
    opener = Opener(url=url, statement_timeout=timedelta(seconds=30))
    async with open_connections(opener, pool_size=2, max_overflow=7, patience=timedelta(seconds=30)) as few:
        async with AsyncExitStack() as lent:
            for _ in range(4):
                await (await lent.enter_async_context(few.snapshot())).run("SELECT 1")
            assert few.figures == PoolFigures(in_use=4, idle=0, limit=9)

        assert few.figures == PoolFigures(in_use=0, idle=2, limit=9)


async def test_answers_come_in_the_order_of_their_questions(connections: Connections) -> None:
    async with connections.unit() as session:
        session.later("CREATE TABLE kept (number integer)")
        first, second = await session.answers(
            ("INSERT INTO kept VALUES (%s) RETURNING number", (7,)), ("SELECT number + 1 FROM kept", ())
        )

    assert (first, second) == ([(7,)], [(8,)])


async def test_what_waits_goes_before_a_script(connections: Connections) -> None:
    async with connections.unit() as session:
        session.later("CREATE TABLE kept (number integer)")
        await session.script("INSERT INTO kept VALUES (1); INSERT INTO kept VALUES (2)")

    async with connections.lookup() as session:
        assert await session.rows("SELECT count(*) FROM kept") == [(2,)]


async def test_a_connection_that_was_given_up_amid_answers_is_lent_to_nobody(connections: Connections) -> None:
    with anyio.move_on_after(MOMENT.total_seconds()) as given_up:
        async with connections.unit() as session:
            session.later("SELECT pg_sleep(5)")
            await session.rows("SELECT 1")

    assert given_up.cancelled_caught
    async with connections.unit() as session:
        session.later("SELECT 1")
        assert await session.rows("SELECT 2") == [(2,)]


async def test_the_last_question_ends_what_it_was_asked_in(connections: Connections) -> None:
    async with connections.lookup() as session:
        session.see(["agent ada"])
        assert await session.last("SELECT current_setting('tmws.audience')") == [("agent ada",)]
        assert session.connection.pgconn.transaction_status == TransactionStatus.IDLE
    async with connections.lookup() as session:
        session.see(["agent ada"])
        assert await session.answers(("SELECT 1", ()), ("SELECT 2", ()), ends=True) == [[(1,)], [(2,)]]
        assert session.connection.pgconn.transaction_status == TransactionStatus.IDLE


async def test_plans_are_kept_for_what_is_found_by_key_until_one_is_made_afresh(connections: Connections) -> None:
    asked = "SHOW plan_cache_mode"
    async with connections.snapshot() as session:
        for _ in range(2):
            session.finds_by_key()
            assert await session.rows(asked) == [("force_generic_plan",)]
            assert await session.rows(asked, afresh=True) == await session.rows(asked) == [("auto",)]
    async with connections.snapshot() as session:
        assert await session.rows(asked) == [("auto",)]


async def test_a_batch_of_more_than_one_trip_is_stored_whole_or_not_at_all(url: str) -> None:
    async with open_postgres(url) as opened:
        await create(opened.storage, memory())
        many = [memory(content=f"number {number}") for number in range(250)]
        with psycopg.connect(url) as connection:
            connection.execute("ALTER TABLE embeddings ADD CONSTRAINT few CHECK (document < 150)")
        with pytest.raises(StorageUnavailable):
            await store(opened.storage, *(new(each, vector=vector(0, 1, 0, 0)) for each in many))
        assert await vectors(opened) == 1

        with psycopg.connect(url) as connection:
            connection.execute("ALTER TABLE embeddings DROP CONSTRAINT few")
        await store(opened.storage, *(new(each, vector=vector(0, 1, 0, 0)) for each in many))
        assert await vectors(opened) == 251
        assert await opened.storage.integrity() == []


async def vectors(opened: PostgresStore) -> int:
    return (await opened.vectors.health())["vectors"]
