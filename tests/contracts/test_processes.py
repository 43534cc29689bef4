"""The contract of Storage among processes: nothing acknowledged is lost, nobody is locked out."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest

from tests.contracts.builders import memory, new, scope, vector
from tests.contracts.steps import documents, store
from tests.contracts.stores import STORES, new_place, open_at
from tests.servers.postgres import PostgresServer
from tmws_adapters.sqlite import open_sqlite

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PROCESSES = 4
WRITES = 50


@contextmanager
def child(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a child that is ready to start, and end it with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.store_child", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def start(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def finish(process: "subprocess.Popen[str]") -> list[str]:
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out.split()


@pytest.fixture(params=STORES)
def bare_place(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer]
) -> Iterator[str]:
    """Return a place without a schema."""
    with new_place(request.param, tmp_path, postgres_if_asked, "template0") as created:
        yield created


async def stored_ids(place: str) -> list[str]:
    async with open_at(place) as opened:
        assert await opened.storage.integrity() == []
        async with opened.storage.read() as snapshot:
            page = await snapshot.memories.page(scope(), after=None, limit=9999, order="oldest")
    return [each.id for each in page]


async def test_processes_that_write_at_the_same_time_lose_nothing(place: str) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child("write", place, str(WRITES))) for _ in range(PROCESSES)]
        for each in children:
            start(each)
        acknowledged = [memory_id for each in children for memory_id in finish(each)]

    assert len(acknowledged) == PROCESSES * WRITES
    assert await stored_ids(place) == sorted(acknowledged)


async def test_what_was_acknowledged_before_a_kill_is_there_after_it(place: str) -> None:
    with child("write", place, "100000") as process:
        start(process)
        assert process.stdout
        acknowledged = [process.stdout.readline().strip() for _ in range(100)]
        process.kill()
        lines = process.stdout.read().split("\n")
        acknowledged += lines[:-1]

    found = await stored_ids(place)
    assert set(acknowledged) <= set(found)
    assert len(found) - len(acknowledged) <= 1


def test_processes_that_open_a_new_store_at_once_all_find_it_ready(bare_place: str) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child("open", bare_place)) for _ in range(PROCESSES)]
        for each in children:
            start(each)

        assert [finish(each) for each in children] == [["0"]] * PROCESSES


async def test_what_is_remembered_of_a_scope_is_forgotten_when_somebody_else_writes(place: str) -> None:
    async with open_at(place) as mine, open_at(place) as theirs:
        assert await documents(mine.storage) == []
        await store(theirs.storage, new(memory(), vector=vector(1, 0, 0, 0)))

        assert await documents(mine.storage) == [1]


def test_what_a_program_embeds_is_imported_where_files_have_no_locks() -> None:
    """Windows has no fcntl."""
    script = "import sys; sys.modules['fcntl'] = None; import tmws_adapters.bootstrap"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


async def test_an_ordinary_start_imports_neither_alembic_nor_numpy(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    async with open_sqlite(path):
        pass
    script = f"""
import sys, pathlib, anyio
import tmws_adapters.exact
from tmws_adapters.sqlite import open_sqlite
async def main():
    async with open_sqlite(pathlib.Path({str(path)!r})):
        print(*({{"alembic", "sqlalchemy", "numpy"}} & sys.modules.keys()))
anyio.run(main)
"""
    finished = await anyio.run_process([sys.executable, "-c", script], cwd=ROOT)

    assert (finished.stdout, finished.stderr) == (b"\n", b"")
