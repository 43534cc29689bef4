"""A worker thread that is still at work when asyncio cancels its task: what it uses is nobody else's until it ends."""

import asyncio
import sqlite3
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import attrs
import pytest

from tests.contracts.builders import memory, new, searchable, vector
from tests.contracts.interrupting import WAYS, interruptions
from tests.contracts.steps import store
from tmws_adapters.cancellation import in_thread
from tmws_adapters.chroma.opening import Opened
from tmws_adapters.exact import open_exact
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.embedding import EmbeddingModel, Vector
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


class Slow(dict[int, Vector]):
    """Vectors that whoever reads them waits for at a gate."""

    def __init__(self, gate: Gate, vectors: dict[int, Vector]) -> None:
        super().__init__(vectors)
        self._gate = gate

    def __iter__(self) -> Iterator[int]:
        self._gate.pass_through()
        return super().__iter__()


async def test_vectors_whose_search_is_cancelled_have_no_row_of_others_in_an_exact_index() -> None:
    gate = Gate()
    east, north = vector(1, 0), vector(0, 1)
    held = dict.fromkeys(range(1, 20), east) | {20: east, 21: north}

    async def fetch(documents: Sequence[int], _model: EmbeddingModel | None, _timeline: int) -> dict[int, Vector]:
        found = {document: held[document] for document in documents}
        return Slow(gate, found) if 20 in found else found

    async with open_exact(fetch) as index:
        # Behind them there is room for more rows.
        await index.search(searchable(array("q", range(1, 20))), east, 1)
        cancelled = asyncio.create_task(index.search(searchable(array("q", [20])), east, 1))
        await gate.reached.wait()
        following = asyncio.create_task(index.search(searchable(array("q", [21])), east, 1))
        await anyio.wait_all_tasks_blocked()
        cancelled.cancel()
        await anyio.wait_all_tasks_blocked()
        gate.open()
        await asyncio.wait([cancelled, following])

        found = await index.search(searchable(array("q", [20, 21])), east, 2)
    assert [(hit.document, hit.score) for hit in found.hits] == [(20, 1.0), (21, 0.0)]


@pytest.mark.parametrize("way", WAYS)
async def test_a_change_of_the_model_that_is_cancelled_keeps_no_other_from_it(tmp_path: Path, way: str) -> None:
    async with open_sqlite(tmp_path / "tmws.db") as opened:

        async def change() -> None:
            async with opened.models.migration():
                await anyio.lowlevel.checkpoint()

        async for error in interruptions(change, way):
            assert error is None or isinstance(error, asyncio.CancelledError)


@attrs.define
class Worked:
    """Stands for Chroma: it may be closed when nobody works with it."""

    events: list[str] = attrs.field(factory=list)

    @contextmanager
    def working(self) -> Iterator[Any]:
        yield None
        self.events.append("worked")

    def close(self) -> None:
        self.events.append("closed")


async def test_chroma_is_not_closed_under_work_whose_task_is_cancelled() -> None:
    gate, chroma = Gate(), Worked()
    opened = Opened(chroma)

    cancelled = asyncio.create_task(opened.run(lambda _: gate.pass_through()))
    await gate.reached.wait()
    cancelled.cancel()
    closed = asyncio.create_task(opened.close())
    await anyio.wait_all_tasks_blocked()
    gate.open()
    await asyncio.wait([cancelled, closed])

    assert chroma.events == ["worked", "closed"]


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
