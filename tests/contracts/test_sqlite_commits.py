"""Commits that SQLite refuses, and how long units of work share one."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from datetime import timedelta
from pathlib import Path

import anyio
import attrs
import pytest

from tests.contracts.builders import memory, new, scope
from tmws_adapters.cancellation import in_thread
from tmws_adapters.sqlite import connections, open_sqlite
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.storage import NewMemory, Storage

pytestmark = pytest.mark.anyio


async def fail_at_the_commit(storage: Storage, lost: NewMemory) -> None:
    """Write a memory beside a share of no memory, which SQLite refuses at the commit only."""
    async with storage.write() as unit:
        await unit.changes.add([lost])
        session = unit.changes._session  # type: ignore[attr-defined]  # noqa: SLF001 - no port makes such a row
        await session.run(lambda connection: connection.execute("PRAGMA defer_foreign_keys = ON"))
        row = "INSERT INTO memory_shares (memory_id, agent_id, permission) VALUES ('x', 'y', 'read')"
        await session.run(lambda connection: connection.execute(row))


async def test_what_a_failed_commit_was_to_store_is_not_stored_by_the_next_one(tmp_path: Path) -> None:
    lost, kept = memory(), memory()
    async with open_sqlite(tmp_path / "tmws.db") as store:
        storage = store.storage
        with pytest.raises(StorageUnavailable):
            await fail_at_the_commit(storage, new(lost))
        async with storage.write() as unit:
            await unit.changes.add([new(kept)])
        async with storage.read() as snapshot:
            found = await snapshot.memories.page(scope(), after=None, limit=9, order="oldest")
    assert [each.id for each in found] == [kept.id]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_who_has_written_does_not_wait_for_all_that_come_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_lost: bool
) -> None:
    monkeypatch.setattr(connections, "GROUP", timedelta(hours=1) if is_lost else timedelta(0))
    told = anyio.Event()
    async with open_sqlite(tmp_path / "tmws.db") as store:

        async def first() -> None:
            with pytest.raises(StorageUnavailable) if is_lost else nullcontext():
                async with store.storage.write() as unit:
                    await anyio.wait_all_tasks_blocked()
                    await unit.changes.add([new(memory())])
            told.set()

        async def undo_all() -> None:
            """Fail so that SQLite undoes what ran before, too."""
            row = "INSERT OR ROLLBACK INTO memory_shares (memory_id, agent_id, permission) VALUES (NULL, 'y', 'read')"
            with suppress(StorageUnavailable):
                async with store.storage.write() as unit:
                    session = unit.changes._session  # noqa: SLF001 - no port does so
                    await session.run(lambda connection: connection.execute(row))

        async def behind() -> None:
            async with store.storage.write() as unit:
                await unit.changes.add([new(memory())])
                with anyio.fail_after(60):
                    await told.wait()

        async with anyio.create_task_group() as tasks:
            for task in (first, *([undo_all] if is_lost else []), behind):
                tasks.start_soon(task)


async def test_who_is_cancelled_before_its_commit_leaves_no_transaction_open(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    scope, written = anyio.CancelScope(), memory()
    async with open_sqlite(path) as store:

        async def write() -> None:
            with scope:
                async with store.storage.write() as unit:
                    await unit.changes.add([new(written)])
                    await anyio.wait_all_tasks_blocked()

        async def come_behind_and_write_nothing() -> None:
            async with store.storage.write():
                scope.cancel()
                await anyio.wait_all_tasks_blocked()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(come_behind_and_write_nothing)
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT id FROM memories_v2").fetchall() == [(written.id,)]


@attrs.define
class Clock:
    """A monotonic clock that stands still until it is moved."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("writes", "pause", "rests"),
    [([1.6], 0.5, True), ([1.6], 2.0, False), ([0.8, 0.8], 0.1, True)],
    ids=["short", "long", "several"],
)
async def test_a_process_that_writes_without_long_pauses_leaves_the_file_to_others_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, writes: list[float], pause: float, rests: bool
) -> None:
    """Of the pauses between two transactions none is long enough for who looks every 100 ms."""
    monkeypatch.setattr("tmws_adapters.sqlite.connections.REST", timedelta(minutes=1))
    monkeypatch.setattr("tmws_adapters.sqlite.connections.time", clock := Clock())
    begun = anyio.Event()

    async def write(seconds: float) -> None:
        async with store.storage.write() as unit:
            begun.set()
            await unit.changes.add([new(memory())])
            clock.now += seconds

    async with open_sqlite(tmp_path / "tmws.db") as store, anyio.create_task_group() as tasks:
        for seconds in writes:
            await write(seconds)
            clock.now += pause
        begun = anyio.Event()
        tasks.start_soon(write, 0.0)
        await anyio.wait_all_tasks_blocked()
        if rests:
            with closing(sqlite3.connect(tmp_path / "tmws.db", timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
            assert not begun.is_set()
            tasks.cancel_scope.cancel()
        else:
            with anyio.fail_after(60):
                await begun.wait()


async def test_nothing_is_acknowledged_where_the_one_who_was_to_commit_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "GROUP", timedelta(0))
    path = tmp_path / "tmws.db"
    written, scopes, found = memory(), [anyio.CancelScope()], []

    async def cancelled_before_it_begins(work: Callable[[], None], limiter: anyio.CapacityLimiter) -> None:
        if scopes:
            scopes.pop().cancel()
        await in_thread(work, limiter)

    async with open_sqlite(path) as store:
        monkeypatch.setattr(connections, "in_thread", cancelled_before_it_begins)

        async def write() -> None:
            async with store.storage.write() as unit:
                await unit.changes.add([new(written)])
                await anyio.wait_all_tasks_blocked()
            with closing(sqlite3.connect(path)) as other:
                found.extend(other.execute("SELECT id FROM memories_v2").fetchall())

        async def commit_for_others(scope: anyio.CancelScope) -> None:
            with scope:
                async with store.storage.write():
                    raise AssertionError("it was cancelled before")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(commit_for_others, scopes[0])

    assert found == [(written.id,)]
