"""Work that is cancelled at any of its waits disturbs nobody else, and leaves all or nothing of itself."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import attrs
import psycopg
import pytest

from tests.contracts.builders import DAY, EVERYTHING, MODEL, memory, new, scope, used_key, vector
from tests.contracts.interrupting import WAYS, interruptions
from tests.contracts.steps import store
from tests.contracts.stores import STORES, Store
from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.memory import Memory
from tmws_core.errors import MemoryNotFound, TmwsError
from tmws_core.ports.storage import Searchable

pytestmark = pytest.mark.anyio

ROUNDS = int(os.environ.get("TMWS_FAULT_ROUNDS", "1"))
"""How often each wait of each work is struck."""

BATCH = 120
"""Memories of a batch: more than go to a server in one trip."""

NEIGHBOURS = 2
"""Tasks that use the same connections meanwhile."""

ADAS = scope(agent_id="ada")
QUERY = vector(1, 0, 0, 0)
WORKS = ("read", "look_up", "search", "write", "batch", "change")


@attrs.define
class World:
    """A store with what is read from it, and work on it.

    `begun` are the ids of each write, `told` those of the writes that were acknowledged, `failed` what went wrong for
    somebody else.
    """

    opened: Store
    held: list[Memory]
    begun: list[list[str]] = attrs.field(factory=list)
    told: list[list[str]] = attrs.field(factory=list)
    failed: list[BaseException] = attrs.field(factory=list)
    versions: list[int] = attrs.field(factory=lambda: [1])

    async def read(self) -> None:
        async with self.opened.storage.read() as snapshot:
            for each in self.held:
                assert (await snapshot.memories.get(each.id, EVERYTHING)).content == each.content
            page = await snapshot.memories.page(ADAS, after=None, limit=9, order="oldest")
            assert [each.id for each in page] == [each.id for each in self.held]
            with pytest.raises(MemoryNotFound):
                await snapshot.memories.get("nothing", EVERYTHING)

    async def look_up(self) -> None:
        numbers = [each.document for each in self.held]
        assert set(await self.opened.storage.vectors(numbers, MODEL)) == set(numbers)
        assert await self.opened.storage.model() == MODEL
        assert await self.opened.storage.changes()
        assert (await self.opened.storage.health()).memories >= len(self.held)

    async def search(self) -> None:
        assert len(await self.opened.lexical.search(ADAS, ["memory"], 10)) == len(self.held)
        async with self.opened.storage.read() as snapshot:
            assert len((await snapshot.memories.searchable(ADAS)).documents) == len(self.held)
        if isinstance(self.opened, PostgresStore):
            found = await self.opened.vectors.search(Searchable(scope=ADAS, model=MODEL), QUERY, 9)
            assert len(found.hits) == len(self.held)

    async def write(self) -> None:
        await self._write(1)

    async def batch(self) -> None:
        await self._write(BATCH)

    async def _write(self, number: int) -> None:
        memories = [memory(agent_id="eve") for _ in range(number)]
        ids = [each.id for each in memories]
        self.begun.append(ids)
        async with self.opened.storage.write() as unit:
            await unit.use_model(MODEL)
            await unit.changes.add([new(each, vector=QUERY) for each in memories])
            await unit.changes.remember([used_key(each, each.id) for each in memories])
            await unit.audit([event(memories[0])])
        self.told.append(ids)

    async def change(self) -> None:
        """Change one memory, and what the audit log says of it."""
        async with self.opened.storage.write() as unit:
            former = await unit.memories.get(self.held[0].id, EVERYTHING)
            changed = attrs.evolve(former, version=former.version + 1)
            await unit.changes.replace(former, new(changed, vector=QUERY))
            await unit.audit([event(former)])
        self.versions.append(changed.version)

    async def neighbour(self, done: anyio.Event) -> None:
        """Do all of it, again and again, in a task that nobody cancels."""
        while not done.is_set():
            for work in (self.read, self.look_up, self.search, self.write):
                try:
                    await work()
                except (TmwsError, psycopg.Error, AssertionError) as error:
                    self.failed.append(error)

    async def counted(self, *, exactly: bool) -> None:
        """Compare what the store holds with what was begun and told: `exactly`, nothing that was not told is there."""
        async with self.opened.storage.read() as snapshot:
            wanted = [id_ for ids in self.begun for id_ in ids]
            there = await snapshot.memories.visible(wanted, EVERYTHING)
            first = await snapshot.memories.get(self.held[0].id, EVERYTHING)
        assert all(len(there.intersection(ids)) in {0, len(ids)} for ids in self.begun)
        assert all(there.issuperset(ids) for ids in self.told)
        assert first.version >= max(self.versions)
        if exactly:
            assert there == {id_ for ids in self.told for id_ in ids}
            assert first.version == max(self.versions)
        assert await self.opened.storage.integrity() == []


def event(about: Memory) -> AuditEvent:
    return AuditEvent(timestamp=DAY, event_type="memory.created", agent_id=about.agent_id, details={"id": about.id})


@asynccontextmanager
async def world_of(kind: str, directory: Path, server: Callable[[], PostgresServer]) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        opened: Store
        if kind == "sqlite":
            opened = await stack.enter_async_context(open_sqlite(directory / "tmws.db", synchronous="NORMAL"))
        else:
            url = stack.enter_context(server().database())
            opened = await stack.enter_async_context(open_postgres(url, pool_size=4, max_overflow=5))
        await store(opened.storage, *(new(memory(), vector=QUERY) for _ in range(3)))
        async with opened.storage.read() as snapshot:
            held = await snapshot.memories.page(ADAS, after=None, limit=9, order="oldest")
        yield World(opened, held)
        if isinstance(opened, PostgresStore):
            await all_are_back(url, opened)


async def all_are_back(url: str, opened: PostgresStore) -> None:
    """Wait until the server has the connections that are kept, and no others."""
    figures = (await opened.storage.health()).pool
    assert figures
    assert figures.in_use == 0
    with anyio.fail_after(60):
        while await connected(url) != figures.idle:
            gc.collect()


async def connected(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        ((count,),) = await cursor.fetchall()
    return int(count)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", STORES)
async def test_work_that_is_cancelled_at_any_wait_disturbs_nobody_and_leaves_all_or_nothing(
    tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer], kind: str, way: str
) -> None:
    async with world_of(kind, tmp_path, postgres_if_asked) as world:
        done = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for _ in range(NEIGHBOURS):
                tasks.start_soon(world.neighbour, done)
            for _ in range(ROUNDS):
                for name in WORKS:
                    async for error in interruptions(getattr(world, name), way):
                        assert error is None or isinstance(error, asyncio.CancelledError), (name, error)
            done.set()

        assert world.failed == []
        await world.counted(exactly=way == "scope")
