"""Reading from replicas: nobody misses what was acknowledged, and a replica that cannot keep up is left out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import anyio
import attrs
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.contracts.builders import EVERYTHING, MODEL, memory, new, scope, vector
from tests.contracts.steps import get, store
from tests.servers.postgres import GUARDED, PASSWORD, PostgresServer, free_port
from tests.servers.postgres_replica import Pair, Replica, kill, pair, replica_of, revive
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_adapters.postgres.positions import Position
from tmws_core.errors import PartUnavailable, StorageInterrupted, StorageUnavailable
from tmws_core.ports.storage import Searchable

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
"""Seconds in which a replica that was left out has to be back on a busy machine."""


@attrs.frozen
class Place:
    """A database on a primary, and on its replica."""

    servers: Pair
    url: str
    replica_url: str

    def opened(self, *others: str) -> AbstractAsyncContextManager[PostgresStore]:
        return open_postgres(self.url, replicas=[self.replica_url, *others])


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    # A replica gives up a read at once that is in the way of what it replays, and the logs tell who was asked for what.
    with pair(log_statement="all", max_standby_streaming_delay="0") as started:
        yield started


@pytest.fixture
def place(servers: Pair) -> Iterator[Place]:
    with servers.primary.database() as url:
        yield Place(servers, url, servers.replica_url(url))


@contextmanager
def asked(server: PostgresServer) -> Iterator[list[str]]:
    """Yield a list that holds, when the block has ended, what the server was asked for meanwhile."""
    assert server.directory is not None
    log = server.directory / "log"
    seen = log.stat().st_size
    found: list[str] = []
    yield found
    found.extend(log.read_bytes()[seen:].decode().split("LOG: "))


@asynccontextmanager
async def caught_up(place: Place, *others: str) -> AsyncIterator[PostgresStore]:
    """Open a store once its replica has the database."""
    async with place.opened(*others) as opened:
        await until_read_there(opened, place.servers.replica)
        yield opened


async def until_read_there(opened: PostgresStore, replica: Replica) -> None:
    async def is_read() -> bool:
        with asked(replica) as queries:
            await get_none(opened)
        return any("SELECT m." in query for query in queries)

    await until(is_read)


async def get_none(opened: PostgresStore) -> None:
    async with opened.storage.read() as snapshot:
        assert await snapshot.memories.visible(["none"], EVERYTHING) == set()


async def until(wanted: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(PATIENCE):
        while not await wanted():  # noqa: ASYNC110 - what happens in another program sets no event
            await anyio.sleep(0.02)


async def told(opened: PostgresStore) -> int | str | None:
    """Return what the health report says of the replica: its lag, or why it is left out."""
    (ask,) = opened.beside.values()
    try:
        return await ask()
    except PartUnavailable as error:
        return error.message


async def test_reads_of_all_kinds_come_from_the_replica_and_changes_go_to_the_primary(place: Place) -> None:
    stored = memory(content="The rose blooms in June")
    database = sql.Identifier(str(conninfo_to_dict(place.url)["dbname"]))
    # A replica refuses every statement of a transaction that is serializable.
    serializable = sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'").format(database)
    place.servers.primary.execute(serializable)
    async with caught_up(place) as opened:
        with asked(place.servers.primary) as there, asked(place.servers.replica) as here:
            await store(opened.storage, new(stored, vector=vector(1, 0, 0, 0)))
            assert (await get(opened.storage, stored.id)).content == stored.content
            (lexical,) = await opened.lexical.search(scope(), ["rose"], 10)
            nearest = await opened.vectors.search(Searchable(scope=scope(), model=MODEL), vector(1, 0, 0, 0), 10)
            assert [hit.document for hit in nearest.hits] == [lexical.document]
            assert set(await opened.storage.vectors([lexical.document])) == {lexical.document}
            assert await opened.holders.of_key("none") is None

    for read in ("WHERE m.id =", "FROM memory_postings", "<#>", "SELECT e.document, e.vector", "FROM api_keys"):
        assert any(read in query for query in here), read
        assert not any(read in query for query in there), read
    assert any("INSERT INTO memories_v2" in query for query in there)


async def test_every_write_is_seen_by_the_next_read_through_any_server(place: Place) -> None:
    async with caught_up(place) as one, place.opened() as other:
        with asked(place.servers.replica) as here:
            for _ in range(50):
                stored = memory()
                await store(one.storage, new(stored))
                assert (await get(other.storage, stored.id)).id == stored.id
                assert (await get(one.storage, stored.id)).id == stored.id

    assert sum("WHERE m.id =" in query for query in here) > 50


async def test_a_replica_whose_replay_is_paused_shows_nothing_stale_and_comes_back(place: Place) -> None:
    async with caught_up(place) as opened:
        place.servers.replica.pause()
        try:
            for _ in range(5):
                stored = memory()
                await store(opened.storage, new(stored))
                assert (await get(opened.storage, stored.id)).id == stored.id
            message = await told(opened)
        finally:
            place.servers.replica.resume()

        assert "bytes behind the primary" in str(message)
        assert "See its log" in str(message)
        await until_read_there(opened, place.servers.replica)
        assert (await get(opened.storage, stored.id)).id == stored.id
        assert await told(opened) == 0


async def test_reads_go_on_while_the_replica_is_dead_and_it_comes_back_by_itself(place: Place) -> None:
    stored = memory()
    async with caught_up(place) as opened:
        await store(opened.storage, new(stored))
        kill(place.servers.replica)
        try:
            for _ in range(3):
                assert (await get(opened.storage, stored.id)).id == stored.id
            message = await told(opened)
        finally:
            revive(place.servers.replica)

        assert "nobody listens" in str(message)
        assert "TMWS_DATABASE_URL_READ" in str(message)
        await until_read_there(opened, place.servers.replica)


async def test_a_read_that_loses_its_replica_is_told_that_it_can_be_repeated_and_then_goes_elsewhere(
    place: Place,
) -> None:
    stored = memory()
    async with caught_up(place) as opened:
        await store(opened.storage, new(stored))
        try:
            async with opened.storage.read() as snapshot:
                await snapshot.memories.get(stored.id, EVERYTHING)
                kill(place.servers.replica)
                with pytest.raises(StorageInterrupted):
                    await snapshot.memories.get(stored.id, EVERYTHING)
            assert (await get(opened.storage, stored.id)).id == stored.id
        finally:
            revive(place.servers.replica)


async def test_a_read_in_the_way_of_the_replay_is_told_that_it_can_be_repeated(place: Place) -> None:
    stored = memory()
    async with caught_up(place) as opened:
        await store(opened.storage, new(stored))

        async def read_until_it_is_in_the_way() -> None:
            async with opened.storage.read() as snapshot:
                found = await snapshot.memories.get(stored.id, EVERYTHING)
                async with opened.storage.write() as unit:
                    await unit.changes.delete(found)
                place.servers.primary.execute(sql.SQL("VACUUM memories_v2, memory_words"), name_of(place.url))
                with anyio.fail_after(PATIENCE):
                    while True:
                        await snapshot.memories.get(stored.id, EVERYTHING)

        with pytest.raises(StorageInterrupted):
            await read_until_it_is_in_the_way()


async def test_reads_go_on_without_the_primary_and_the_health_report_says_so() -> None:
    stored = memory()
    with pair(log_statement="all") as servers:
        servers.primary.execute(sql.SQL("CREATE DATABASE kept TEMPLATE tmws_template OWNER tmws_worker"))
        url = servers.primary.url("kept")
        async with caught_up(Place(servers, url, servers.replica_url(url))) as opened:
            await store(opened.storage, new(stored))
            await get(opened.storage, stored.id)
            kill(servers.primary)

            assert (await get(opened.storage, stored.id)).id == stored.id
            assert (await opened.holders.of_token("ada", None))[1] is False
            health = await opened.storage.health()
            assert health.problem.startswith("read from a replica, as nothing can be stored: postgresql: nobody")
            assert health.memories == 1
            assert await told(opened) is None
            revive(servers.primary)

            await until(lambda: healthy(opened))
            await store(opened.storage, new(memory()))


async def healthy(opened: PostgresStore) -> bool:
    return not (await opened.storage.health()).problem


async def test_a_server_that_is_no_replica_any_more_is_left_out(place: Place) -> None:
    with replica_of(place.servers.primary) as promoted:
        url = promoted.url(name_of(place.url))
        async with open_postgres(place.url, replicas=[url]) as opened:
            await until_read_there(opened, promoted)
            promoted.promote()
            promoted.execute(sql.SQL("SELECT pg_switch_wal(); CREATE TABLE ahead AS SELECT generate_series(1, 100000)"))
            stored = memory()
            await store(opened.storage, new(stored))

            assert (await get(opened.storage, stored.id)).id == stored.id
            assert "it is no replica, or not any more" in str(await told(opened))


async def test_a_replica_of_another_cluster_or_of_a_former_primary_has_reached_nothing(place: Place) -> None:
    async with caught_up(place) as opened:
        (replica,) = opened.replicas.members
        true = await opened.replicas.primary.position()
        assert true is not None
        for history in (true, Position(true.system + 1, true.timeline, 0), Position(true.system, true.timeline + 1, 0)):
            async with replica.connections.lookup() as session:
                assert await replica.reach(session, history) is (history is true)


async def test_of_several_replicas_those_that_answer_share_the_reads(place: Place) -> None:
    dead = f"postgresql://tmws:{PASSWORD}@127.0.0.1:{free_port()}/tmws"
    with replica_of(place.servers.primary) as second:
        async with caught_up(place, dead, second.url(name_of(place.url))) as opened:
            await until_read_there(opened, second)
            with asked(place.servers.replica) as first_asked, asked(second) as second_asked:
                for _ in range(10):
                    await get_none(opened)
            reports = {}
            for name, ask in opened.beside.items():
                try:
                    reports[name] = str(await ask())
                except PartUnavailable as error:
                    reports[name] = error.message

    assert min(sum("SELECT m." in query for query in each) for each in (first_asked, second_asked)) >= 3
    assert len(reports) == 3
    assert [name for name, report in reports.items() if "nobody listens" in report] == [
        f"replica 2 at 127.0.0.1:{dead.rpartition(':')[2].removesuffix('/tmws')}"
    ]
    assert PASSWORD not in str(reports)


async def test_a_wrong_password_of_a_replica_is_told_and_not_shown(place: Place) -> None:
    wrong = place.servers.replica.url("postgres", user=GUARDED, password=PASSWORD.upper())
    async with open_postgres(place.url, replicas=[wrong]) as opened:
        await get_none(opened)
        message = str(await told(opened))

    assert "refused the user or its password" in message
    assert "TMWS_DATABASE_URL_READ" in message
    assert PASSWORD.upper() not in message


async def test_a_url_of_a_replica_that_is_none_is_refused(place: Place) -> None:
    with pytest.raises(StorageUnavailable, match="TMWS_DATABASE_URL_READ"):
        async with open_postgres(place.url, replicas=["postgresql://127.0.0.1/tmws?colour=red"]):
            pass


def name_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
