"""Processes that start at the same moment on a schema of a former version: one changes it, the others wait for that."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.contracts.stores import open_at
from tests.migrations.former import fill
from tests.migrations.places import differences, go, is_server, upgraded
from tests.servers.postgres import PostgresServer
from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.backup import backups
from tmws_adapters.migrations.connecting import SERVER_LOCK
from tmws_adapters.migrations.runner import upgrade_server
from tmws_adapters.sqlite import open_sqlite
from tmws_core.errors import StorageBusy

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
STARTERS = 4
SECONDS = 120
MOMENT = timedelta(milliseconds=300)

SCRIPT = """
import sys
from tests.migrations.places import upgraded

print("ready", flush=True)
sys.stdin.readline()
done = upgraded(sys.argv[1])
print(done.before, done.after, flush=True)
"""


async def test_of_many_starters_one_changes_the_schema_and_the_others_find_it_changed(place: str) -> None:
    go(place, "0003")
    fill(place, "0003")
    with ExitStack() as stack:
        starters = [stack.enter_context(starter(place)) for _ in range(STARTERS)]
        for each in starters:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in starters:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        said = sorted(each.communicate(timeout=SECONDS)[0] for each in starters)

    assert said == [f"0003 {HEAD}\n", *[f"{HEAD} {HEAD}\n"] * (STARTERS - 1)]
    assert differences(place) == []
    async with open_at(place) as store:
        assert (await store.storage.health()).memories == 1
    if not is_server(place):
        assert len(backups(Path(place))) == 1


def test_who_waits_too_long_for_another_upgrade_is_told_by_postgresql(postgres: PostgresServer) -> None:
    with postgres.database("template0") as url:
        go(url, "0003")
        with psycopg.connect(url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (SERVER_LOCK,))
            with pytest.raises(StorageBusy, match="another process has been changing the schema") as raised:
                upgrade_server(url, lock_wait=MOMENT)
        assert "Wait until it is done" in raised.value.remedy

        assert upgraded(url).after == HEAD


async def test_who_waits_too_long_for_another_writer_is_told_by_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    go(str(path), "0003")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy, match="another process holds the database's lock") as raised:
            async with open_sqlite(path, busy_timeout=MOMENT):
                pass
        other.execute("ROLLBACK")
    assert raised.value.remedy

    async with open_sqlite(path) as store:
        assert (await store.storage.health()).version == HEAD


@contextmanager
def starter(place: str) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, place], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
