"""The contract of Storage: snapshots and transactions."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import anyio
import attrs
import pytest

from tests.contracts.builders import EVERYTHING, MODEL, fingerprint, memory, new, scope, used_key, vector
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.agent import Agent
from tmws_core.domain.memory import Memory
from tmws_core.errors import MemoryNotFound, StorageUnavailable
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

MANY = 20
"""More tasks than any pool has connections."""


class Mishap(Exception):
    """Something that goes wrong inside a transaction."""


async def add(storage: Storage, *memories: Memory) -> None:
    async with storage.write() as unit:
        await unit.changes.add([new(each) for each in memories])


async def ids(storage: Storage) -> list[str]:
    async with storage.read() as snapshot:
        return [each.id for each in await snapshot.memories.page(scope(), after=None, limit=999, order="oldest")]


async def test_a_transaction_sees_its_own_writes_and_nobody_else_does_before_it_commits(storage: Storage) -> None:
    stored = memory()
    async with storage.write() as unit:
        await unit.changes.add([new(stored)])
        assert (await unit.memories.get(stored.id, EVERYTHING)).id == stored.id
        assert await ids(storage) == []

    assert await ids(storage) == [stored.id]


async def test_rolled_back_memory_is_not_found(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.write() as unit:
            await unit.use_model(MODEL)
            stored = memory()
            await unit.changes.add([new(stored, vector=vector(1, 0, 0, 0))])
            await unit.changes.remember([used_key(stored, "k")])
            raise Mishap

    with pytest.raises(Mishap):
        await fail()

    assert await ids(storage) == []
    assert await storage.model() is None
    assert await storage.integrity() == []


async def test_a_cancelled_transaction_is_rolled_back_and_the_next_one_goes_on(storage: Storage) -> None:
    with anyio.CancelScope() as cancelled:
        async with storage.write() as unit:
            await unit.changes.add([new(memory())])
            cancelled.cancel()
            await anyio.lowlevel.checkpoint()
    stored = memory()

    await add(storage, stored)

    assert await ids(storage) == [stored.id]


@pytest.mark.parametrize("delay", [0, 0.0001, 0.0003, 0.001, 0.003])
async def test_a_task_cancelled_at_any_moment_stores_all_or_nothing(storage: Storage, delay: float) -> None:
    batch = [memory() for _ in range(50)]
    writing = asyncio.ensure_future(add(storage, *batch))
    await anyio.sleep(delay)
    writing.cancel()
    await asyncio.wait([writing])
    stored = memory()

    await add(storage, stored)

    found = await ids(storage)
    assert found in ([stored.id], [*(each.id for each in batch), stored.id])
    assert await storage.integrity() == []


async def test_a_failed_statement_ends_its_transaction_even_if_the_error_is_swallowed(storage: Storage) -> None:
    stored = memory()

    async def swallow() -> None:
        async with storage.write() as unit:
            await unit.changes.add([new(memory())])
            with suppress(StorageUnavailable):
                await unit.changes.add([new(stored), new(stored)])
            with suppress(StorageUnavailable):
                await unit.changes.add([new(memory())])

    with pytest.raises(StorageUnavailable):
        await swallow()

    assert await ids(storage) == []


async def test_a_memory_that_is_not_found_does_not_end_the_transaction(storage: Storage) -> None:
    stored = memory()
    async with storage.write() as unit:
        with pytest.raises(MemoryNotFound):
            await unit.memories.get(stored.id, EVERYTHING)
        await unit.changes.add([new(stored)])

    assert await ids(storage) == [stored.id]


async def test_a_snapshot_stays_as_its_first_read_found_it(storage: Storage) -> None:
    first, second = memory(), memory()
    await add(storage, first)
    async with storage.read() as snapshot:
        before = await snapshot.memories.page(scope(), after=None, limit=9, order="oldest")
        await add(storage, second)
        after = await snapshot.memories.page(scope(), after=None, limit=9, order="oldest")

    assert [each.id for each in before] == [each.id for each in after] == [first.id]
    assert await ids(storage) == [first.id, second.id]


async def test_a_snapshot_refuses_to_write(storage: Storage) -> None:
    now = memory().created_at
    async with storage.read() as snapshot:
        with pytest.raises(StorageUnavailable):
            await snapshot.agents.add(Agent(id="ada", namespace="acme", created_at=now, updated_at=now))


async def test_tasks_that_write_at_the_same_time_lose_nothing(storage: Storage) -> None:
    memories = [memory() for _ in range(MANY)]
    async with anyio.create_task_group() as tasks:
        for each in memories:
            tasks.start_soon(add, storage, each)

    assert await ids(storage) == [each.id for each in memories]


async def test_units_that_fail_are_undone_alone_whoever_writes_at_the_same_time(storage: Storage) -> None:
    memories = [memory() for _ in range(MANY)]

    async def write(place: int) -> None:
        async with storage.write() as unit:
            await unit.changes.add([new(memories[place])])
            if place % 4 == 1:
                raise Mishap
            if place % 4 == 3:
                with suppress(StorageUnavailable):
                    await unit.changes.add([new(memories[place])])

    async def attempt(place: int) -> None:
        with suppress(Mishap, StorageUnavailable):
            await write(place)

    async with anyio.create_task_group() as tasks:
        for place in range(MANY):
            tasks.start_soon(attempt, place)

    assert await ids(storage) == [each.id for each in memories[::2]]
    assert await storage.integrity() == []


@pytest.mark.parametrize("delay", [0, 0.0003, 0.001, 0.003, 0.01, 0.03])
async def test_tasks_cancelled_at_any_moment_among_others_take_nothing_from_them(
    storage: Storage, delay: float
) -> None:
    memories = [memory() for _ in range(MANY)]
    acknowledged: set[str] = set()

    async def write(each: Memory) -> None:
        await add(storage, each)
        acknowledged.add(each.id)

    writing = [asyncio.ensure_future(write(each)) for each in memories]
    await anyio.sleep(delay)
    for task in writing[::2]:
        task.cancel()
    await asyncio.wait(writing)

    assert acknowledged >= {each.id for each in memories[1::2]}
    assert set(await ids(storage)) >= acknowledged
    stored = memory()
    await add(storage, stored)
    assert stored.id in await ids(storage)
    assert await storage.integrity() == []


async def test_tasks_that_write_at_the_same_time_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmws_adapters.sqlite.connections.GROUP", timedelta(minutes=1))
    async with open_sqlite(tmp_path / "tmws.db") as store:
        async with anyio.create_task_group() as tasks:
            for _ in range(MANY):
                tasks.start_soon(add, store.storage, memory())
        shared = commits(tmp_path / "tmws.db-wal")
        for _ in range(MANY):
            await add(store.storage, memory())
        alone = commits(tmp_path / "tmws.db-wal") - shared

    assert alone == MANY
    assert shared <= MANY / 2


def commits(log: Path) -> int:
    """Count the frames of a write-ahead log that end a transaction (https://sqlite.org/fileformat.html#walformat)."""
    content = log.read_bytes()
    page_size = int.from_bytes(content[8:12])
    return sum(bool(int.from_bytes(content[at + 4 : at + 8])) for at in range(32, len(content), 24 + page_size))


async def test_read_then_write_in_one_transaction_loses_no_update(storage: Storage) -> None:
    stored = memory()
    await add(storage, stored)

    async def count_up() -> None:
        async with storage.write() as unit:
            former = await unit.memories.get(stored.id, EVERYTHING)
            await unit.changes.replace(former, new(attrs.evolve(former, version=former.version + 1)))

    async with anyio.create_task_group() as tasks:
        for _ in range(MANY):
            tasks.start_soon(count_up)

    async with storage.read() as snapshot:
        assert (await snapshot.memories.get(stored.id, EVERYTHING)).version == 1 + MANY


async def test_any_number_of_snapshots_can_ask_the_store_more(storage: Storage) -> None:
    await add(storage, memory())
    answers: list[int] = []

    async def ask() -> None:
        async with storage.read() as snapshot:
            documents = [
                each.document for each in await snapshot.memories.page(scope(), after=None, limit=9, order="newest")
            ]
            await storage.vectors(documents)
            answers.append((await storage.health()).memories)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(MANY):
                tasks.start_soon(ask)

    assert answers == [1] * MANY


async def test_a_cancelled_reader_gives_its_connection_back(storage: Storage) -> None:
    for _ in range(MANY):
        with anyio.CancelScope() as cancelled:
            async with storage.read() as snapshot:
                await snapshot.agents.count()
                cancelled.cancel()
                await anyio.lowlevel.checkpoint()

    with anyio.fail_after(60):
        assert await ids(storage) == []


async def test_a_transaction_cannot_be_used_after_its_end(storage: Storage) -> None:
    async with storage.write() as unit:
        pass

    with pytest.raises(RuntimeError):
        await unit.agents.count()
    with suppress(Mishap):
        async with storage.write() as undone:
            raise Mishap
    with pytest.raises(RuntimeError):
        await undone.agents.count()


async def test_what_many_tasks_store_at_once_with_one_text_is_stored_once(storage: Storage) -> None:
    same = memory(content="The same text")

    async def store_unless_known(agent_id: str) -> None:
        stored = attrs.evolve(memory(content=same.content), agent_id=agent_id)
        async with storage.write() as unit:
            (known,) = await unit.memories.known([fingerprint(stored)])
            if not known.alike:
                await unit.changes.add([new(stored)])

    async with anyio.create_task_group() as tasks:
        for number in range(MANY):
            tasks.start_soon(store_unless_known, f"agent-{number % 3}")

    assert len(await ids(storage)) == 3


async def test_batches_of_many_owners_in_any_order_never_wait_for_each_other_for_ever(storage: Storage) -> None:
    owners = [f"agent-{number}" for number in range(5)]

    async def store_batch(place: int) -> None:
        batch = [memory(agent_id=owner) for owner in (owners if place % 2 else reversed(owners))]
        async with storage.write() as unit:
            await unit.changes.add([new(each) for each in batch])
            await unit.changes.remember([used_key(each, each.id) for each in batch])

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for place in range(MANY):
                tasks.start_soon(store_batch, place)

    assert len(await ids(storage)) == MANY * len(owners)
    assert await storage.integrity() == []


async def test_turns_of_one_session_that_are_stored_and_deleted_at_once_leave_a_sound_index(storage: Storage) -> None:
    turns = [memory(session_id="s", sequence=number, content=f"Turn {number}") for number in range(MANY)]
    await add(storage, *turns[::2])

    async def remove(memory_id: str) -> None:
        async with storage.write() as unit:
            await unit.changes.delete(await unit.memories.get(memory_id, EVERYTHING))

    async with anyio.create_task_group() as tasks:
        for late, early in zip(turns[1::2], turns[::2], strict=True):
            tasks.start_soon(add, storage, late)
            tasks.start_soon(remove, early.id)

    assert await ids(storage) == [each.id for each in turns[1::2]]
    assert await storage.integrity() == []
