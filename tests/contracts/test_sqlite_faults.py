"""What becomes of a SQLite store when its file, its disk or its neighbours misbehave."""

import asyncio
import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.contracts.builders import DAY, memory, new, scope
from tmws_adapters.sqlite import SqliteStore, open_sqlite
from tmws_adapters.sqlite.connections import Connections, Opener, open_connections
from tmws_adapters.sqlite.errors import MEANINGS, file_error, storage_error
from tmws_adapters.sqlite.predicate import inside
from tmws_adapters.sqlite.scopes import Scopes
from tmws_adapters.sqlite.storage import SqliteStorage
from tmws_core.domain.access import Visibility
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.memory import MemoryType
from tmws_core.errors import (
    SchemaTooNew,
    StorageBusy,
    StorageCorrupt,
    StorageFull,
    StorageReadOnly,
    StorageUnavailable,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SHORT = timedelta(milliseconds=50)

ROWS: list[tuple[str, type[StorageUnavailable]]] = [
    ("SQLITE_BUSY", StorageBusy),
    ("SQLITE_BUSY_SNAPSHOT", StorageBusy),
    ("SQLITE_LOCKED", StorageBusy),
    ("SQLITE_PROTOCOL", StorageBusy),
    ("SQLITE_CORRUPT", StorageCorrupt),
    ("SQLITE_CORRUPT_INDEX", StorageCorrupt),
    ("SQLITE_NOTADB", StorageCorrupt),
    ("SQLITE_FULL", StorageFull),
    ("SQLITE_READONLY", StorageReadOnly),
    ("SQLITE_READONLY_DIRECTORY", StorageReadOnly),
    ("SQLITE_PERM", StorageReadOnly),
    ("SQLITE_AUTH", StorageReadOnly),
    ("SQLITE_CANTOPEN", StorageUnavailable),
    ("SQLITE_IOERR", StorageUnavailable),
    ("SQLITE_IOERR_FSYNC", StorageUnavailable),
    ("SQLITE_NOMEM", StorageUnavailable),
    ("SQLITE_CONSTRAINT_UNIQUE", StorageUnavailable),
]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "tmws.db"
    async with open_sqlite(path, synchronous="NORMAL"):
        pass
    return path


async def add_one(store: SqliteStore | SqliteStorage) -> None:
    storage = store.storage if isinstance(store, SqliteStore) else store
    async with storage.write() as unit:
        await unit.changes.add([new(memory(content="word " * 1000))])


def damage(path: Path) -> None:
    """Overwrite the pages at the end of the file, where the latest memories are."""
    content = path.read_bytes()
    path.write_bytes(content[:-100_000] + b"\xa5" * 100_000)


@pytest.mark.parametrize(("name", "expected"), ROWS)
def test_every_result_code_has_its_meaning(name: str, expected: type[StorageUnavailable]) -> None:
    error = sqlite3.OperationalError("secret text")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name

    meaning = storage_error(error)

    assert type(meaning) is expected
    assert name in meaning.problem
    assert meaning.remedy
    assert "secret" not in meaning.message


def test_every_meaning_is_tested() -> None:
    assert {getattr(sqlite3, name) & 0xFF for name, _ in ROWS} >= set(MEANINGS)


def test_an_error_without_a_code_is_named_by_its_class() -> None:
    assert "ProgrammingError" in storage_error(sqlite3.ProgrammingError("Cannot operate on a closed database.")).problem


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EROFS, StorageReadOnly),
        (errno.EACCES, StorageReadOnly),
        (errno.EPERM, StorageReadOnly),
        (errno.ENOTDIR, StorageUnavailable),
    ],
)
def test_every_failure_to_create_the_file_has_its_meaning(number: int, expected: type[StorageUnavailable]) -> None:
    meaning = file_error(OSError(number, "secret text"))

    assert type(meaning) is expected
    assert "secret" not in meaning.message


async def test_a_new_store_is_private_to_its_user(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        await add_one(store)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}

    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    path.write_bytes(b"These are notes, not a database. " * 100)

    with pytest.raises(StorageCorrupt, match="no SQLite database"):
        async with open_sqlite(path):
            pass

    assert path.read_bytes().startswith(b"These are notes")


async def test_a_damaged_file_is_reported_and_never_answered_from(path: Path) -> None:
    async with open_sqlite(path) as store:
        for _ in range(20):
            await add_one(store)
    damage(path)

    async with open_sqlite(path) as store:
        with pytest.raises(StorageCorrupt):
            async with store.storage.read() as snapshot:
                await snapshot.memories.page(scope(), after=None, limit=99, order="newest")
        assert await store.storage.integrity()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DELETE FROM memories_fts", "memories without a lexical entry"),
        ("INSERT INTO memories_fts (rowid, text) VALUES (99, 'x')", "lexical entries without a memory"),
        ("UPDATE memories_v2 SET model = 1", "memories whose vector is missing"),
        ("INSERT INTO embeddings VALUES (99, 1, x'00')", "vectors without a memory"),
        ("INSERT INTO memory_shares VALUES ('gone', 'ada', 'read')", "memory_shares"),
    ],
)
async def test_what_the_tables_say_of_each_other_is_checked(path: Path, change: str, problem: str) -> None:
    async with open_sqlite(path) as store:
        await add_one(store)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("INSERT INTO embedding_models (name, dimension, digest, active) VALUES ('model', 4, '', 1)")
            other.execute(change)

        problems = await store.storage.integrity()

    assert len(problems) == 1
    assert problem in problems[0].problem


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaTooNew):
        async with open_sqlite(path):
            pass

    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


async def test_a_writer_that_waits_too_long_is_told_that_the_store_is_busy(path: Path) -> None:
    async with open_sqlite(path, busy_timeout=SHORT) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageBusy):
                await add_one(store)
            assert (await store.storage.health()).memories == 0
            other.execute("ROLLBACK")

        await add_one(store)
        assert (await store.storage.health()).memories == 1


async def test_a_rollback_waits_for_the_thread_of_a_task_that_is_gone(path: Path) -> None:
    started, release = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        started.set()
        release.wait(10)
        connection.execute("UPDATE document_numbers SET last = 99")

    async def write(connections: Connections) -> None:
        async with connections.writing() as session:
            await session.run(work)

    opener = Opener(path=path, busy_timeout=SHORT, synchronous="NORMAL")
    async with open_connections(opener) as connections:
        writing = asyncio.ensure_future(write(connections))
        await anyio.to_thread.run_sync(started.wait)
        writing.cancel()
        done, _ = await asyncio.wait([writing], timeout=0.2)
        release.set()
        await asyncio.wait([writing])

    assert not done
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT last FROM document_numbers").fetchone() == (0,)


async def test_a_file_that_was_deleted_under_its_users_is_unhealthy(path: Path) -> None:
    async with open_sqlite(path) as store:
        await anyio.Path(path).unlink()
        with pytest.raises(StorageUnavailable):
            await store.storage.health()


async def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "a b?c%20d#e" / "tmws.db"
    async with open_sqlite(path) as store:
        await add_one(store)
        names = sorted(each.name for each in path.parent.iterdir())

    assert names == ["tmws.db", "tmws.db-shm", "tmws.db-wal"]


async def test_a_store_whose_directory_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageUnavailable):
        async with open_sqlite(tmp_path / "file" / "tmws.db"):
            pass


@attrs.frozen(kw_only=True)
class CrampedOpener(Opener):
    """Opens a file that may grow by a few pages only."""

    spare: int

    def writer(self) -> sqlite3.Connection:
        connection = super().writer()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + self.spare}")
        return connection


@asynccontextmanager
async def open_cramped(path: Path, spare: int) -> AsyncIterator[SqliteStorage]:
    opener = CrampedOpener(path=path, busy_timeout=SHORT, synchronous="FULL", spare=spare)
    async with open_connections(opener) as connections:
        yield SqliteStorage(path, connections, Scopes())


async def test_a_full_disk_is_reported_and_what_was_acknowledged_stays(path: Path) -> None:
    acknowledged = 0
    async with open_cramped(path, spare=8) as storage:
        with suppress(StorageFull):
            while True:
                await add_one(storage)
                acknowledged += 1
        assert (await storage.health()).memories == acknowledged > 0
        assert await storage.integrity() == []

    async with open_sqlite(path) as store:
        await add_one(store)
        assert (await store.storage.health()).memories == acknowledged + 1


async def test_tasks_that_fill_the_disk_together_are_told_what_was_stored(path: Path) -> None:
    acknowledged = 0

    async def fill(storage: SqliteStorage) -> None:
        nonlocal acknowledged
        with suppress(StorageFull):
            while True:
                await add_one(storage)
                acknowledged += 1

    async with open_cramped(path, spare=100) as storage:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(fill, storage)
        assert (await storage.health()).memories == acknowledged > 0
        assert await storage.integrity() == []


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Make a directory that other users can enter, which pytest's own are not."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("directory_mode", "file_mode"), [(0o555, None), (0o555, 0o666), (0o777, 0o444)], ids=["new", "directory", "file"]
)
async def test_a_store_that_this_user_cannot_write_is_read_only(
    open_directory: Path, directory_mode: int, file_mode: int | None
) -> None:
    home = open_directory / "home"
    home.mkdir()
    if file_mode is not None:
        async with open_sqlite(home / "tmws.db"):
            pass
        (home / "tmws.db").chmod(file_mode)
    home.chmod(directory_mode)
    command = [sys.executable, "-m", "tests.contracts.store_child", "unprivileged", str(home / "tmws.db")]

    finished = await anyio.run_process(command, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE)

    assert finished.stdout.decode().startswith("storage_read_only: ")
    home.chmod(0o755)


async def test_audit_events_are_appended_with_readable_times(path: Path) -> None:
    event = AuditEvent(timestamp=DAY, event_type="memory.created", agent_id="ada", details={"count": 1})
    async with open_sqlite(path) as store, store.storage.write() as unit:
        await unit.audit([event, attrs.evolve(event, event_type="memory.deleted")])

    with closing(sqlite3.connect(path)) as other:
        rows = other.execute(
            "SELECT id, timestamp, event_type, agent_id, details FROM security_audit_logs ORDER BY id"
        ).fetchall()
    assert rows == [
        (1, "2026-01-31T00:00:00.000000Z", "memory.created", "ada", '{"count":1}'),
        (2, "2026-01-31T00:00:00.000000Z", "memory.deleted", "ada", '{"count":1}'),
    ]


async def test_a_scope_is_answered_from_its_index_alone(path: Path) -> None:
    every = scope(
        Visibility("ada", "acme"),
        namespace="acme",
        agent_id="ada",
        memory_type=MemoryType.WORKING,
        tags_any=("a",),
        tags_all=("b",),
        session_id="s",
        occurred_after=DAY,
        occurred_before=DAY,
        created_after=DAY,
        created_before=DAY,
        min_importance=0.5,
    )
    part = inside(every)
    sql = f"SELECT m.document FROM memories_v2 AS m INDEXED BY memories_v2_scope WHERE {part.sql}"

    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", part.values)]

    assert "SCAN m USING COVERING INDEX memories_v2_scope" in plan
