"""Vectors in memory follow what any server of the store writes, and answer as exactly as comparing all of them."""

from contextlib import AsyncExitStack
from typing import Any

import anyio
import attrs
import psycopg
import pytest

from tests.contracts.builders import MODEL, memory, new, scope
from tests.contracts.steps import store
from tests.contracts.test_vector_scopes import (
    COUNT,
    EAST,
    MEMORY,
    NORTH,
    SCOPES,
    Indexed,
    fill,
    nearest,
    open_kept,
    recall,
    rows,
)
from tests.servers.postgres import PostgresServer, own_server
from tests.servers.postgres_replica import kill, pair
from tmws_adapters.exact import open_exact
from tmws_adapters.postgres import open_postgres, vectors
from tmws_adapters.postgres.kept import VALUE_BYTES
from tmws_core.domain.embedding import Canary, Vector
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.storage import NewMemory, Searchable
from tmws_core.ports.vector import Nearest, VectorIndex
from tmws_core.services.recall import searchable_in

pytestmark = pytest.mark.anyio


async def counted(index: object) -> int:
    assert isinstance(index, vectors.PgVectorIndex)
    return (await index.health())["kept"]


async def test_in_every_scope_the_nearest_are_found_exactly(postgres: PostgresServer) -> None:
    made = rows()
    queries = [Vector(row.tobytes()) for row in made[:: COUNT // 10]]
    with postgres.database() as url:
        async with open_kept(url) as indexed:
            await fill(indexed.storage, made)
            # The second time what is remembered of a scope is used.
            recalls = [await recall(indexed, wanted, queries) for wanted in SCOPES.values() for _ in range(2)]

            assert await counted(indexed.index) == COUNT
    assert min(recalls) == 1.0


async def test_what_another_server_wrote_is_found_by_the_next_search(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_kept(url) as indexed, open_postgres(url) as other:
            await store(other.storage, new(memory(), vector=NORTH))
            assert await nearest(indexed, scope(), EAST, 3) == [1]
            await store(other.storage, new(memory(), vector=EAST))

            assert await nearest(indexed, scope(), EAST, 3) == [2, 1]
            assert await counted(indexed.index) == 2


async def test_a_vector_of_a_transaction_that_began_before_the_last_search_is_found(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_kept(url) as indexed, open_postgres(url) as other:
            await store(other.storage, new(memory(), vector=NORTH))
            async with other.storage.write() as unit:
                await unit.changes.add([new(memory(agent_id="slow"), vector=EAST)])
                # What waits to be sent is sent by a question.
                await unit.memories.page(scope(), after=None, limit=1, order="newest")
                await store(other.storage, new(memory(agent_id="fast"), vector=NORTH))
                assert sorted(await nearest(indexed, scope(), EAST, 5)) == [1, 3]

            assert await nearest(indexed, scope(), EAST, 1) == [2]


async def test_a_text_that_gets_its_vector_late_is_found(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_kept(url) as indexed:
            await store(indexed.storage, new(memory()), new(memory(), vector=NORTH))
            assert await nearest(indexed, scope(), EAST, 3) == [2]
            async with indexed.storage.write() as unit:
                await unit.changes.put_vectors({1: EAST})

            assert await nearest(indexed, scope(), EAST, 3) == [1, 2]


async def test_vectors_from_a_dump_are_found_whatever_transaction_wrote_them(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_kept(url) as indexed:
            await store(indexed.storage, new(memory(), vector=EAST))
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("UPDATE embeddings SET xid = '9999999999'")
            assert await nearest(indexed, scope(), EAST, 3) == [1]
            await store(indexed.storage, new(memory(), vector=EAST))

            assert await nearest(indexed, scope(), EAST, 3) == [2, 1]


async def test_after_a_restart_of_the_server_nothing_is_missing() -> None:
    with own_server() as server, server.database() as url:
        async with open_kept(url) as indexed:
            await store(indexed.storage, new(memory(), vector=NORTH))
            assert await nearest(indexed, scope(), EAST, 3) == [1]
            server.stop()
            server.start()
            await store(indexed.storage, new(memory(), vector=EAST))

            assert await nearest(indexed, scope(), EAST, 3) == [2, 1]


async def test_after_a_failover_that_lost_memories_their_numbers_stand_for_others() -> None:
    with pair() as servers:
        async with (
            open_kept(servers.url(servers.create("kept"))) as indexed,
            open_exact(indexed.storage.vectors) as all_,
        ):
            exact = Indexed(indexed.storage, all_)
            await store(indexed.storage, new(memory(), vector=NORTH))
            servers.replica.stop()
            # A replica knows of 32 numbers more than were taken.
            lost = await kept_of(indexed, *(new(memory(), vector=EAST) for _ in range(40)))
            assert (await hits_of(exact))[2] == 1.0
            kill(servers.primary)
            servers.replica.start()
            servers.replica.promote()
            found = await kept_of(indexed, *(new(memory(), vector=NORTH) for _ in range(2)))

            assert lost.count == 41
            assert {number: score for number, score in found.hits if number <= 41}
            assert {score for _, score in found.hits} == {0.0}
            assert found.count == len(found.hits) == 3
            assert await hits_of(exact) == dict(found.hits)


async def test_after_a_change_of_the_model_the_new_vectors_are_kept(postgres: PostgresServer) -> None:
    other, canary = attrs.evolve(MODEL, name="tests/other"), Canary(text="a canary", vector=NORTH)
    with postgres.database() as url:
        async with open_kept(url) as indexed, open_postgres(url) as server:
            await store(indexed.storage, *(new(memory(), vector=each) for each in (EAST, NORTH)))
            assert await nearest(indexed, scope(), EAST, 2) == [1, 2]
            async with server.models.migration() as migration:
                await migration.begin(other, canary)
                await migration.prepare({1: NORTH, 2: EAST})
                assert await migration.switch(0)

            assert await nearest(indexed, scope(), EAST, 2) == [2, 1]
            assert isinstance(indexed.index, vectors.PgVectorIndex)
            assert indexed.index.kept is not None
            assert await indexed.index.kept.ready(2, other)


@attrs.define
class _FailingOnce:
    """An index that cannot be reached the first time."""

    index: VectorIndex
    failed: bool = False

    async def search(self, searchable: Searchable, query: Vector, limit: int) -> Nearest:
        if not self.failed:
            self.failed = True
            raise IndexUnavailable(part="index", reason="is away", hint="")
        return await self.index.search(searchable, query, limit)


async def test_a_model_that_changes_before_all_vectors_are_loaded_leaves_none_of_the_former(
    postgres: PostgresServer,
) -> None:
    other, canary = attrs.evolve(MODEL, name="tests/other"), Canary(text="a canary", vector=NORTH)
    with postgres.database() as url:
        async with open_postgres(url) as server, open_exact(server.storage.vectors) as exact:
            index: Any = _FailingOnce(exact)
            _, _, kept = server.vectors.keeping(index, MEMORY)
            await store(server.storage, *(new(memory(), vector=each) for each in (EAST, NORTH)))
            with pytest.raises(IndexUnavailable):
                await kept.ready(2, MODEL)
            async with server.models.migration() as migration:
                await migration.begin(other, canary)
                await migration.prepare({1: NORTH})
                assert await migration.switch(1)

            assert await kept.ready(2, other)
            assert kept.count == 1


@attrs.frozen
class Found:
    hits: list[tuple[int, float]]
    count: int


async def kept_of(indexed: Indexed, *memories: NewMemory) -> Found:
    """Store memories and search until all that there is is in memory."""
    await store(indexed.storage, *memories)
    for _ in range(5):
        hits = await hits_of(indexed)
    return Found([*hits.items()], await counted(indexed.index))


async def hits_of(indexed: Indexed) -> dict[int, float]:
    """Return how near to the east the memories are."""
    nearest = await indexed.index.search(await searchable_in(indexed.storage, scope(), indexed.index), EAST, 50)
    return {hit.document: round(hit.score, 3) for hit in nearest.hits}


async def test_a_store_without_room_for_its_vectors_is_searched_on_the_server(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_kept(url, memory=2 * EAST.dimension * VALUE_BYTES - 1) as indexed:
            await store(indexed.storage, *(new(memory(), vector=EAST) for _ in range(2)))

            assert await nearest(indexed, scope(), EAST, 3) == [2, 1]
            assert await counted(indexed.index) == 0


async def test_many_vectors_are_loaded_in_the_background(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.kept.AT_ONCE", 0)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_postgres(stack.enter_context(postgres.database())))
        exact = await stack.enter_async_context(open_exact(opened.storage.vectors))
        index, _, kept = opened.vectors.keeping(exact, MEMORY)
        await store(opened.storage, *(new(memory(), vector=EAST) for _ in range(2)))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(kept.run)
        searchable = await searchable_in(opened.storage, scope(), index)

        first = await index.search(searchable, EAST, 3)
        with anyio.fail_after(10):
            while kept.count == 0:
                await anyio.lowlevel.checkpoint()
        second = await index.search(searchable, EAST, 3)

    assert [hit.document for hit in first.hits] == [hit.document for hit in second.hits] == [2, 1]


async def test_a_store_whose_last_memory_is_gone_has_nothing_near(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_kept(url) as indexed, open_postgres(url) as other:
            await store(indexed.storage, new(memory(), vector=EAST))
            assert await nearest(indexed, scope(), EAST, 3) == [1]
            async with other.storage.write() as unit:
                (last,) = await unit.memories.page(scope(), after=None, limit=1, order="newest")
                await unit.changes.delete(last)

            assert await nearest(indexed, scope(), EAST, 3) == []
            assert await nearest(indexed, scope(SCOPES["an agent's"].visibility), EAST, 3) == []


async def test_many_that_are_gone_are_forgotten(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.kept.GONE_LEAST", 0)
    with postgres.database() as url:
        async with open_kept(url) as indexed:
            await store(indexed.storage, *(new(memory(), vector=EAST) for _ in range(4)))
            await nearest(indexed, scope(), EAST, 3)
            async with indexed.storage.write() as unit:
                for each in await unit.memories.page(scope(), after=None, limit=3, order="newest"):
                    await unit.changes.delete(each)

            assert await nearest(indexed, scope(), EAST, 3) == [1]
            assert await counted(indexed.index) == 1


async def test_a_text_that_is_being_changed_keeps_no_other_from_its_vector(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_postgres(url) as one, open_postgres(url) as other:
            await store(one.storage, new(memory()), new(memory(agent_id="bob")))
            with psycopg.connect(url) as changing:
                changing.execute("SET tmws.audience = 'all:'")
                assert changing.execute("UPDATE memories_v2 SET importance = 1 WHERE document = 1").rowcount == 1
                with anyio.fail_after(60):
                    async with other.storage.write() as unit:
                        assert await unit.changes.put_vectors({1: EAST, 2: EAST}) == 1
            async with other.storage.write() as unit:
                assert await unit.changes.put_vectors({1: EAST}) == 1

            assert await one.storage.vectors([1, 2]) == {1: EAST, 2: EAST}
