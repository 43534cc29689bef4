"""The embedding model is changed while others write over connections of their own, and commit late."""

import threading
from collections.abc import AsyncIterator, Iterator, Sequence

import anyio
import attrs
import psycopg
import pytest

from tests.contracts.builders import EVERYTHING, MODEL, memory, new, vector
from tests.contracts.ollama_double import OllamaDouble, hashed_vectors, ollama_double
from tests.contracts.steps import get, store
from tests.servers.postgres import behind
from tmws_adapters.ollama import open_ollama
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_core.domain.embedding import Canary, EmbeddingModel
from tmws_core.domain.memory import Memory
from tmws_core.services.migrating import BATCH, Migrated, Migrating

pytestmark = pytest.mark.anyio

LIMIT = 30
"""Seconds that only a hang reaches."""

EAST = vector(1, 0, 0, 0)
OTHER = EmbeddingModel(name="tests/two", dimension=2, digest="d2")
CANARY = Canary(text="a canary", vector=vector(0, 1))

ORPHANS = "SELECT count(*) FROM embeddings WHERE document NOT IN (SELECT document FROM memories_v2)"
WITHOUT = """
    SELECT count(*) FROM memories_v2 WHERE document NOT IN (
        SELECT document FROM embeddings WHERE model = (SELECT id FROM embedding_models WHERE active)
    )
"""

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
async def one(url: str) -> AsyncIterator[PostgresStore]:
    async with open_postgres(url) as opened:
        yield opened


@pytest.fixture
async def other(url: str) -> AsyncIterator[PostgresStore]:
    async with open_postgres(url) as opened:
        yield opened


@pytest.fixture
def double() -> Iterator[OllamaDouble]:
    with ollama_double() as running:
        yield running


async def migrate(opened: PostgresStore, double: OllamaDouble) -> Migrated:
    async with open_ollama(double.url, double.model) as embedder:
        with anyio.fail_after(LIMIT):
            return await Migrating(models=opened.models, embedder=embedder).migrate(lambda _done, _all: None)


def counted(url: str, sql: str) -> int:
    with behind(url) as connection:
        ((count,),) = connection.execute(sql.encode()).fetchall()
    return int(count)


async def test_memories_that_are_committed_late_with_lower_numbers_get_their_vectors(
    url: str, one: PostgresStore, other: PostgresStore, double: OllamaDouble
) -> None:
    await store(one.storage, *(new(memory(content=f"Early {n}"), vector=EAST) for n in range(BATCH)))
    late = [memory(agent_id="eve", content=f"Late {n}") for n in range(2 * BATCH)]
    begun, passed = anyio.Event(), anyio.Event()
    behind_it, committed = threading.Event(), threading.Event()
    token = anyio.lowlevel.current_token()

    async def write_late() -> None:
        await begun.wait()
        async with one.storage.write() as unit:
            await unit.changes.add([new(each, vector=EAST) for each in late])
            await store(other.storage, new(memory(content="The last"), vector=EAST))
            behind_it.set()
            await passed.wait()
        committed.set()

    def slow(texts: Sequence[str]) -> list[list[float]]:
        if any("Early" in text for text in texts):
            anyio.from_thread.run_sync(begun.set, token=token)
            assert behind_it.wait(LIMIT)
        elif any("The last" in text for text in texts):
            anyio.from_thread.run_sync(passed.set, token=token)
            assert committed.wait(LIMIT)
        return hashed_vectors(texts)

    double.vectors = slow
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write_late)
        done = await migrate(other, double)

    assert (done.switched, done.embedded) == (True, BATCH + len(late) + 1)
    assert counted(url, WITHOUT) == counted(url, ORPHANS) == 0
    assert await one.storage.integrity() == []


@pytest.mark.parametrize("change", ["switch", "roll back"])
async def test_a_switch_waits_for_those_who_are_adding_vectors_of_the_former_model(
    url: str, one: PostgresStore, other: PostgresStore, change: str
) -> None:
    stored = memory()
    await store(one.storage, new(stored, vector=EAST))
    model = await one.storage.model()
    assert model is not None
    async with other.models.migration() as migration:
        await migration.begin(OTHER, CANARY)
        await migration.prepare({(await get(one.storage, stored.id)).document: vector(0, 1)})
        if change == "roll back":
            assert await migration.switch(0)
            model = OTHER
        added, changed = anyio.Event(), anyio.Event()

        async def add() -> None:
            async with one.storage.write() as unit:
                await unit.use_model(model)
                await unit.changes.add([new(memory(), vector=EAST if model is not OTHER else vector(0, 1))])
                await unit.agents.count()
                added.set()
                while not changed.is_set() and not await anyio.to_thread.run_sync(counted, url, WAITING):
                    pass

        async def go_over() -> None:
            await (migration.switch(1) if change == "switch" else migration.roll_back())
            changed.set()

        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(add)
                await added.wait()
                tasks.start_soon(go_over)

    assert await one.storage.model() != model
    assert counted(url, WITHOUT) == 1
    assert counted(url, "SELECT count(*) FROM memories_v2 WHERE model IS NOT NULL") == 1
    assert await one.storage.integrity() == []


async def test_the_model_that_vectors_are_stored_of_stays_until_they_are_stored(
    url: str, one: PostgresStore, other: PostgresStore
) -> None:
    like = attrs.evolve(OTHER, dimension=MODEL.dimension)
    await store(one.storage, new(memory()))
    changed = anyio.Event()
    async with other.models.migration() as migration:
        await migration.begin(like, attrs.evolve(CANARY, vector=EAST))

        async def go_over() -> None:
            await migration.switch(1)
            changed.set()

        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks, one.storage.write() as unit:
                await unit.use_model(MODEL)
                tasks.start_soon(go_over)
                while not changed.is_set() and not await anyio.to_thread.run_sync(counted, url, WAITING):
                    pass
                assert await unit.changes.put_vectors({1: EAST}) == 1

    assert await one.storage.vectors([1], MODEL) == await one.storage.vectors([1], like) == {}
    assert await one.storage.integrity() == []


async def test_a_switch_of_many_memories_is_made_in_steps_all_at_once(
    one: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.migration.STEP", 2)
    await store(one.storage, *(new(memory(), vector=EAST) for _ in range(5)))
    async with one.models.migration() as migration:
        await migration.begin(OTHER, CANARY)
        await migration.prepare(dict.fromkeys((1, 2, 3, 5), vector(0, 1)))
        assert await migration.switch(1)

    assert await one.storage.vectors(range(6), OTHER) == dict.fromkeys((1, 2, 3, 5), vector(0, 1))
    assert (await one.models.standing()).embedded == 4
    assert await one.storage.integrity() == []


@pytest.mark.parametrize("change", ["delete", "replace"])
async def test_a_memory_that_is_being_deleted_or_changed_leaves_no_vector_behind(
    url: str, one: PostgresStore, other: PostgresStore, change: str
) -> None:
    stored = memory()
    await store(one.storage, new(stored, vector=EAST))
    former = await get(one.storage, stored.id)
    changed = attrs.evolve(former, content="Another text", version=2)
    async with other.models.migration() as migration:
        await migration.begin(OTHER, CANARY)
        async with one.storage.write() as unit:
            if change == "delete":
                await unit.changes.delete(await unit.memories.get(former.id, EVERYTHING))
            else:
                await unit.changes.replace(former, new(changed, vector=EAST))
            await unit.agents.count()
            with anyio.fail_after(LIMIT):
                assert await migration.prepare({former.document: vector(0, 1)}) == 0

        assert counted(url, ORPHANS) == 0
        assert [each.content for each in await migration.missing(0, 9)] == ["Another text"] * (change == "replace")


async def test_writers_that_add_and_delete_all_the_time_leave_every_memory_with_its_vector(
    url: str, one: PostgresStore, other: PostgresStore, double: OllamaDouble
) -> None:
    await store(one.storage, *(new(memory(), vector=EAST) for _ in range(BATCH)))
    done = anyio.Event()

    async def work(opened: PostgresStore, owner: str) -> None:
        kept: list[Memory] = []
        while not done.is_set():
            added = [memory(agent_id=owner) for _ in range(5)]
            async with opened.storage.write() as unit:
                await unit.changes.add([new(each) for each in added])
            kept += added
            async with opened.storage.write() as unit:
                for each in kept[:3]:
                    await unit.changes.delete(await unit.memories.get(each.id, EVERYTHING))
            del kept[:3]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, one, "eve")
        tasks.start_soon(work, other, "bob")
        assert (await migrate(other, double)).switched
        done.set()

    assert counted(url, ORPHANS) == 0
    assert await one.storage.integrity() == []


async def test_vectors_that_were_left_behind_before_are_gone_after_the_switch(
    url: str, one: PostgresStore, other: PostgresStore
) -> None:
    stored = memory()
    await store(one.storage, new(stored, vector=EAST))
    async with other.models.migration() as migration:
        await migration.begin(OTHER, CANARY)
        await migration.prepare({(await get(one.storage, stored.id)).document: vector(0, 1)})
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO embeddings SELECT 999, model, vector FROM embeddings ORDER BY model DESC LIMIT 1"
            )
        assert await migration.switch(0)

    assert counted(url, ORPHANS) == 0
    assert await one.storage.model() == OTHER


@pytest.mark.parametrize("change", ["begin", "forget"])
async def test_others_go_on_while_an_index_waits_for_a_long_writer(
    url: str, one: PostgresStore, other: PostgresStore, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.postgres.migration.ATTEMPTS", 1_000_000)
    await store(one.storage, new(memory(), vector=EAST))
    written = [memory(agent_id="eve") for _ in range(20)]
    changed = anyio.Event()
    async with other.models.migration() as migration, anyio.create_task_group() as tasks:
        if change == "forget":
            await migration.begin(OTHER, CANARY)

        async def work() -> None:
            await (migration.begin(OTHER, CANARY) if change == "begin" else migration.forget("next", 1))
            changed.set()

        with anyio.fail_after(4 * LIMIT):
            async with one.storage.write() as unit:
                await unit.changes.add([new(memory(), vector=EAST)])
                await unit.agents.count()
                tasks.start_soon(work)
                while not await anyio.to_thread.run_sync(counted, url, WAITING):
                    pass
                for each in written:
                    await store(other.storage, new(each, vector=EAST))
                    assert (await get(other.storage, each.id)).content == each.content
                assert not changed.is_set()
            await changed.wait()

    found = await other.models.standing()
    assert (found.next is not None, found.embedded) == (change == "begin", len(written) + 2)
