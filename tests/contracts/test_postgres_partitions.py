"""The partitions of the months are made, and walled off, while others read for as long as they like."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.contracts.audit_steps import SetClock
from tests.contracts.builders import memory, new
from tests.contracts.steps import store
from tests.faults.journal import settings_of
from tests.servers.postgres import PostgresServer, behind
from tmws_adapters.bootstrap import open_app
from tmws_adapters.postgres import housekeeping, open_postgres
from tmws_adapters.postgres.upkeep import PostgresUpkeep

pytestmark = pytest.mark.anyio

LIMIT = 8
"""Seconds: less than a lock is waited for elsewhere."""

MOMENT = timedelta(microseconds=1)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'memories_v2'::regclass ORDER BY 1"

HAND_MADE = """
    CREATE TABLE by_hand (LIKE memories_v2 INCLUDING ALL);
    ALTER TABLE memories_v2 ATTACH PARTITION by_hand FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')
"""


def partitions(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute(PARTITIONS).fetchall()]


async def make_missing(url: str) -> list[str]:
    """Open the store once, and drop the partitions of the months again, as if these had just begun."""
    async with open_postgres(url):
        made = partitions(url)
    with psycopg.connect(url) as connection:
        for name in made:
            if name != "memories_v2_default":
                connection.execute(f"DROP TABLE {name}".encode())
    return made


async def test_a_server_starts_and_reads_and_writes_while_a_long_reader_keeps_partitions_from_being_made(
    url: str,
) -> None:
    made = await make_missing(url)
    now = datetime.now(UTC)  # noqa: TID251 - the server makes partitions by its own clock
    with behind(url) as reader:
        reader.execute("SELECT count(*) FROM memories_v2")
        with anyio.fail_after(LIMIT):
            async with open_postgres(url) as opened:
                await store(opened.storage, new(memory(created_at=now)))
                assert (await opened.storage.health()).memories == 1
        assert partitions(url) == ["memories_v2_default"]

    async with open_postgres(url):
        # This month's rows are in the default partition now.
        assert partitions(url) == [name for name in made if not name.endswith(f"{now:%Y_%m}")]


async def test_nobody_waits_long_behind_a_partition_that_cannot_be_made(url: str) -> None:
    await make_missing(url)
    longest = 0.0
    async with anyio.create_task_group() as tasks:
        with behind(url) as reader:
            reader.execute("SELECT count(*) FROM memories_v2")

            async def start() -> None:
                async with open_postgres(url):
                    pass
                done.set()

            done = anyio.Event()
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
                tasks.start_soon(start)
                while not done.is_set():
                    began = anyio.current_time()
                    await other.execute("SELECT count(*) FROM memories_v2")
                    longest = max(longest, anyio.current_time() - began)

    assert longest < LIMIT


async def test_a_partition_by_hand_over_a_month_keeps_neither_the_server_nor_other_months_from_their_own(
    url: str,
) -> None:
    made = await make_missing(url)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE by_hand (LIKE memories_v2 INCLUDING ALL)")
        now = datetime.now(UTC)  # noqa: TID251 - as above
        connection.execute(
            "ALTER TABLE memories_v2 ATTACH PARTITION by_hand"
            f" FOR VALUES FROM ('{now:%Y-%m}-01T00:00Z') TO ('{now:%Y-%m}-15T00:00Z')".encode()
        )

    async with open_postgres(url) as opened:
        await store(opened.storage, new(memory()))

    assert len(partitions(url)) == len(made)
    assert "by_hand" in partitions(url)


async def test_a_partition_by_hand_is_told_of_and_walled_off_at_the_next_start(url: str) -> None:
    async with open_postgres(url):
        pass
    with psycopg.connect(url) as connection:
        connection.execute(HAND_MADE)
    found = [each for each in PostgresUpkeep(url).differences() if "by_hand" in each.part]
    assert [each.problem for each in found] == ["row-level security of partition by_hand is missing"]

    async with open_postgres(url):
        pass

    assert PostgresUpkeep(url).differences() == []
    with psycopg.connect(url) as connection:
        security = connection.execute(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = 'by_hand'"
        ).fetchone()
    assert security == (True, True)


def places(url: str) -> list[tuple[str, datetime]]:
    """Return the partition and the time of every memory."""
    with behind(url) as connection:
        return connection.execute("SELECT tableoid::regclass::text, created_at FROM memories_v2 ORDER BY 2").fetchall()


@pytest.mark.parametrize("edge", [datetime(2031, 1, 1, tzinfo=UTC), datetime(2032, 3, 1, tzinfo=UTC)])
async def test_the_months_are_there_before_they_begin_and_each_takes_its_own_from_its_first_moment(
    url: str, edge: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "LOOK", 0)
    clock = SetClock(edge - MOMENT)
    async with open_postgres(url) as opened, anyio.create_task_group() as tasks:
        tasks.start_soon(opened.housekeeping.run, clock)
        await until_there(url, clock.time, edge, edge + timedelta(days=31))
        assert f"memories_v2_{edge + timedelta(days=62):%Y_%m}" not in partitions(url)

        clock.time = edge
        await until_there(url, edge + timedelta(days=62))
        for time in (edge - MOMENT, edge):
            await store(opened.storage, new(memory(created_at=time)))
        tasks.cancel_scope.cancel()

    before = f"{edge - MOMENT:%Y_%m}"
    assert places(url) == [(f"memories_v2_{before}", edge - MOMENT), (f"memories_v2_{edge:%Y_%m}", edge)]


async def until_there(url: str, *times: datetime) -> None:
    with anyio.fail_after(60):
        while not {f"memories_v2_{time:%Y_%m}" for time in times} <= {*partitions(url)}:
            await anyio.lowlevel.checkpoint()


async def test_what_a_running_service_cannot_look_after_it_tries_again_soon(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(housekeeping, "LOOK", 0)
    monkeypatch.setattr(housekeeping, "SOON", 0)
    made = await make_missing(url)
    settings = settings_of(tmp_path, TMWS_DATABASE_URL=url, TMWS_ONNX_MODEL_DIR="missing")
    with behind(url) as reader, anyio.fail_after(60):
        reader.execute("SELECT count(*) FROM memories_v2")
        async with open_app(settings):
            caplog.clear()
            while "partitions of the months" not in caplog.text:
                await anyio.lowlevel.checkpoint()
            assert partitions(url) == ["memories_v2_default"]
            reader.rollback()
            while partitions(url) != made:
                await anyio.lowlevel.checkpoint()


async def test_a_write_looks_only_where_nobody_has_looked_for_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await make_missing(url)
    async with open_postgres(url) as opened:
        await make_missing(url)

        await store(opened.storage, new(memory(created_at=LONG_AGO)))
        assert partitions(url) == ["memories_v2_default"]

        monkeypatch.setattr(housekeeping, "OVERDUE", 0)
        await store(opened.storage, new(memory(created_at=LONG_AGO)))
        assert partitions(url) == made


async def test_a_database_that_takes_no_connection_is_a_warning_of_the_housekeeping(
    postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = str(conninfo_to_dict(url)["dbname"])
    async with open_postgres(url, failover=timedelta(0)) as opened:
        postgres.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        ended = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
        postgres.execute(ended.format(sql.Literal(name)))

        assert not await opened.housekeeping.look()

    assert "The tables were not looked after" in caplog.text
