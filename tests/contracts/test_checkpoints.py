"""The log of a SQLite file is copied while nobody writes, and does not grow for ever."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.contracts.builders import memory, new
from tmws_adapters.sqlite import SqliteStore, open_sqlite
from tmws_adapters.sqlite.checkpoints import LOG_BYTES, Checkpoints
from tmws_adapters.sqlite.connections import Opener
from tmws_core.errors import StorageUnavailable

pytestmark = pytest.mark.anyio

PAGE = "x" * 3000


def fill(connection: sqlite3.Connection, rows: int) -> None:
    with connection:
        connection.executemany("INSERT INTO texts VALUES (?)", [(PAGE,)] * rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file whose log is large, and kept by a connection that has it open."""
    return tmp_path / "tmws.db"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0.01)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA journal_size_limit = 0")
    connection.execute("CREATE TABLE IF NOT EXISTS texts (text TEXT)")
    return connection


def test_a_large_log_is_copied_when_nobody_writes_and_not_before(path: Path) -> None:
    log = log_of(path)
    with closing(opened(path)) as writer, closing(opened(path)) as other:
        checkpoints = Checkpoints(lambda: log_of(path).stat().st_size, lambda: opened(path))
        fill(writer, 2000)
        assert log.stat().st_size > LOG_BYTES > path.stat().st_size
        other.execute("BEGIN IMMEDIATE")

        checkpoints.copy_if_large(writer)
        assert path.stat().st_size < LOG_BYTES

        other.execute("ROLLBACK")
        checkpoints.copy_if_large(writer)
        assert path.stat().st_size > LOG_BYTES

        fill(writer, 1)
        assert log.stat().st_size < LOG_BYTES
        checkpoints.close()


def test_a_small_log_is_left_alone(path: Path) -> None:
    with closing(opened(path)) as writer:
        checkpoints = Checkpoints(lambda: log_of(path).stat().st_size, lambda: opened(path))
        fill(writer, 10)
        former = path.stat().st_size

        checkpoints.copy_if_large(writer)

        assert path.stat().st_size == former
        checkpoints.close()


async def largest_log(store: SqliteStore, path: Path, units: int = 28) -> int:
    """Write 0.3 MB a unit and return how many bytes the log had at most."""
    largest = 0
    for _ in range(units):
        async with store.storage.write("ada") as unit:
            await unit.changes.add([new(memory(content=PAGE * 10)) for _ in range(10)])
        largest = max(largest, log_of(path).stat().st_size)
    return largest


async def test_a_store_that_is_written_for_long_keeps_a_log_of_a_few_megabytes_wherever_it_moves(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    home = tmp_path / "home"
    home.symlink_to("one")
    async with open_sqlite(home / "tmws.db") as store:
        await largest_log(store, home / "tmws.db", 1)
        await anyio.Path(tmp_path / "one").rename(tmp_path / "two")
        home.unlink()
        home.symlink_to("two")

        assert LOG_BYTES < await largest_log(store, home / "tmws.db") < 2 * LOG_BYTES


async def test_what_is_committed_is_acknowledged_though_the_log_cannot_be_copied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable, guard = False, Opener.guard

    def now_and_then(opener: Opener) -> sqlite3.Connection:
        if reachable:
            return guard(opener)
        raise StorageUnavailable(part="sqlite", reason="unable to open database file", hint="Free descriptors")

    monkeypatch.setattr(Opener, "guard", now_and_then)
    async with open_sqlite(path) as store:
        assert await largest_log(store, path) > 2 * LOG_BYTES

        reachable = True
        await largest_log(store, path, 2)
        assert log_of(path).stat().st_size < 2 * LOG_BYTES


async def test_no_writing_connection_copies_the_log_by_itself(path: Path) -> None:
    async with open_sqlite(path) as store, store.storage.write() as unit:
        session = unit._session  # noqa: SLF001 - there is no other way to its connection
        [(pages,)] = await session.run(lambda connection: connection.execute("PRAGMA wal_autocheckpoint").fetchall())

    assert pages == 0
