"""PostgreSQL behind PgBouncer: few connections for many clients, none of which keeps one longer than a transaction."""

import asyncio
import itertools
import traceback
from collections.abc import Iterator
from pathlib import Path

import anyio
import psycopg
import pytest

from tests.contracts.builders import MODEL, memory, new, scope, vector
from tests.contracts.interrupting import WAYS, interruptions
from tests.contracts.steps import get, store
from tests.contracts.test_interruptions import ADAS, QUERY, World
from tests.servers.certificates import Certificates, certificates_in
from tests.servers.pgbouncer import pgbouncer
from tests.servers.postgres import PASSWORD, PostgresServer
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_core.domain.memory import Memory
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.storage import Searchable

pytestmark = pytest.mark.anyio

TASKS = 12
ROUNDS = 10
"""More than the driver needs to prepare a statement that it runs again and again."""


SNAPSHOTS = """
    SELECT backend_xmin FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction'
"""


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as created, pgbouncer(postgres) as port:
        yield at(created, "127.0.0.1", port)


def at(url: str, host: str, port: int, **options: object) -> str:
    """Return the URL of a database at another place."""
    parts = psycopg.conninfo.conninfo_to_dict(url)
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"postgresql://{parts['user']}:{PASSWORD}@{host}:{port}/{parts['dbname']}?{query}"


async def test_many_clients_store_and_search_over_few_connections(url: str) -> None:
    stored = [[memory(agent_id=f"agent{task}") for _ in range(ROUNDS)] for task in range(TASKS)]
    async with open_postgres(url) as one, open_postgres(url) as other:

        async def work(task: int) -> None:
            storing, reading = (one, other) if task % 2 else (other, one)
            for each in stored[task]:
                await store(storing.storage, new(each, vector=vector(1, task, 0, 0)))
                assert (await get(reading.storage, each.id)).id == each.id
                assert await reading.lexical.search(scope(), ["memory"], 10)
                assert (
                    await reading.vectors.search(Searchable(scope=scope(), model=MODEL), vector(1, 0, 0, 0), 3)
                ).hits

        async with anyio.create_task_group() as tasks:
            for task in range(TASKS):
                tasks.start_soon(work, task)
        assert (await one.storage.health()).memories == len(list(itertools.chain(*stored)))
        assert await one.storage.integrity() == []


async def test_it_is_noticed_that_a_pooler_is_between_and_no_statement_is_prepared(
    url: str, postgres: PostgresServer
) -> None:
    async with open_postgres(url) as opened, opened.replicas.lookup() as session:
        assert session.connection.prepare_threshold is None
    with postgres.database() as direct:
        async with open_postgres(direct) as opened, opened.replicas.lookup() as session:
            assert session.connection.prepare_threshold


async def test_what_is_locked_for_long_is_locked_by_transactions_that_keep_no_rows_from_being_vacuumed(
    url: str, postgres: PostgresServer
) -> None:
    with postgres.database() as direct:
        for each in (url, direct):
            async with open_postgres(each) as opened, opened.storage.embedding() as embeds, opened.models.migration():
                assert embeds
                with psycopg.connect(postgres.superuser_url(each.rpartition("/")[2])) as connection:
                    assert connection.execute(SNAPSHOTS).fetchall() == [(None,), (None,)]


@pytest.mark.parametrize("way", WAYS)
async def test_requests_that_are_cancelled_leave_nothing_to_those_who_get_their_connection_next(
    url: str, way: str
) -> None:
    done = anyio.Event()
    async with open_postgres(url) as opened, open_postgres(url) as other, anyio.create_task_group() as tasks:
        world, neighbour = World(opened, await held(opened)), World(other, await held(other))
        tasks.start_soon(neighbour.neighbour, done)
        for work in (world.read, world.look_up, world.write):
            async for error in interruptions(work, way):
                assert error is None or isinstance(error, asyncio.CancelledError), error
        done.set()

    assert neighbour.failed == []


async def held(opened: PostgresStore) -> list[Memory]:
    """Return what every client reads."""
    async with opened.storage.read() as snapshot:
        if found := await snapshot.memories.page(ADAS, after=None, limit=9, order="oldest"):
            return found
    await store(opened.storage, *(new(memory(), vector=QUERY) for _ in range(3)))
    return await held(opened)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates_in(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def encrypted(postgres: PostgresServer, certificates: Certificates) -> Iterator[tuple[str, int]]:
    with postgres.database() as created, pgbouncer(postgres, certificates) as port:
        yield created, port


async def test_a_server_whose_certificate_is_verified_is_used(
    encrypted: tuple[str, int], certificates: Certificates
) -> None:
    created, port = encrypted
    url = at(created, "127.0.0.1", port, sslmode="verify-full", sslrootcert=certificates.authority)

    async with open_postgres(url) as opened:
        await store(opened.storage, new(memory()))


@pytest.mark.parametrize(
    ("host", "authority", "reason"),
    [
        ("localhost", "authority", "the server's certificate is for another host"),
        ("127.0.0.1", "stranger", "the server's certificate cannot be verified"),
        ("127.0.0.1", "missing", "the file of trusted certificates is missing"),
    ],
)
async def test_a_server_that_cannot_be_trusted_is_refused(
    encrypted: tuple[str, int], certificates: Certificates, host: str, authority: str, reason: str
) -> None:
    created, port = encrypted
    path = getattr(certificates, authority, Path("/nowhere/authority.pem"))

    error = await refusal(at(created, host, port, sslmode="verify-full", sslrootcert=path))

    assert reason in error.message
    assert "sslrootcert" in error.remedy or "sslmode" in error.remedy


async def test_a_server_that_needs_tls_says_so_to_who_does_without(encrypted: tuple[str, int]) -> None:
    created, port = encrypted

    error = await refusal(at(created, "127.0.0.1", port, sslmode="disable"))

    assert "the server takes no connections without TLS" in error.message
    assert "sslmode=require" in error.remedy


async def refusal(url: str) -> StorageUnavailable:
    with pytest.raises(StorageUnavailable) as raised:
        async with open_postgres(url):
            pass
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))
    return raised.value
