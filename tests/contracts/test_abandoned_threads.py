"""A worker thread that is still at work when asyncio cancels its task: what it uses is nobody else's until it ends."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import anyio
import anyio.from_thread
import attrs
import pytest

from tests.contracts.builders import memory, new
from tests.contracts.steps import store
from tmws_adapters.cancellation import in_thread
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.memory import Memory

pytestmark = pytest.mark.anyio

LONGEST_WAIT = 60
"""Seconds that only a hang reaches."""


@attrs.define(eq=False)
class Gate:
    """Keeps the threads that come to it until it is opened."""

    reached: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _opened: threading.Event = attrs.field(factory=threading.Event, init=False)

    def open(self) -> None:
        self._opened.set()

    def pass_through(self) -> None:
        anyio.from_thread.run_sync(self.reached.set)
        assert self._opened.wait(LONGEST_WAIT)


async def test_a_commit_whose_task_is_cancelled_is_not_that_of_the_next_writer(tmp_path: Path) -> None:
    gate, first, second = Gate(), memory(), memory()
    async with open_sqlite(path := tmp_path / "tmws.db") as opened:
        await store(opened.storage)
        writer = opened.storage._connections._writer  # noqa: SLF001 - to see its commit
        writer.set_trace_callback(lambda sql: gate.pass_through() if sql == "COMMIT" else None)

        cancelled = asyncio.create_task(store(opened.storage, new(first)))
        await gate.reached.wait()
        following = asyncio.create_task(store(opened.storage, new(second)))
        await anyio.wait_all_tasks_blocked()
        cancelled.cancel()
        await anyio.wait_all_tasks_blocked()
        gate.open()
        await following

        assert stored(path, first, second) == {first.id, second.id}
        assert not writer.in_transaction
        with pytest.raises(asyncio.CancelledError):
            await cancelled


def stored(path: Path, *memories: Memory) -> set[str]:
    """Return which of the memories another connection finds."""
    with closing(sqlite3.connect(path)) as connection:
        held = {memory_id for (memory_id,) in connection.execute("SELECT id FROM memories_v2")}
    return held & {each.id for each in memories}


async def test_a_thread_is_waited_for_by_whoever_is_cancelled_and_leaves_nobody_its_place() -> None:
    gate, limiter = Gate(), anyio.CapacityLimiter(1)
    seen: list[str] = []

    def work() -> None:
        gate.pass_through()
        seen.append("ended")

    async def wait_for_it() -> None:
        try:
            await in_thread(work, limiter)
        finally:
            seen.append("left")

    task = asyncio.create_task(wait_for_it())
    await gate.reached.wait()
    for _ in range(3):
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert limiter.borrowed_tokens == 1
    gate.open()
    await asyncio.wait([task])

    assert task.cancelled()
    assert seen == ["ended", "left"]
    assert limiter.borrowed_tokens == 0
