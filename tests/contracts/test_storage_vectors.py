"""The contract of Storage: vectors and their model, agents, and the store as a whole."""

from array import array
from datetime import timedelta

import attrs
import pytest

from tests.contracts.builders import DAY, MODEL, memory, new, scope, vector
from tests.contracts.steps import documents, get, replace, store
from tmws_core.domain.agent import Agent
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import ModelMismatch
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

EAST = vector(1, 0, 0, 0)
NORTH = vector(0, 1, 0, 0)


async def test_texts_wait_for_vectors_most_important_first_then_newest(storage: Storage) -> None:
    memories = [memory(importance=importance) for importance in (0.5, 0.9, 0.5, 0.1)]
    await store(storage, *map(new, memories), new(memory(), vector=EAST))

    async with storage.read() as snapshot:
        waiting = await snapshot.memories.unembedded(3)

    assert [each.content for each in waiting] == [memories[index].content for index in (1, 2, 0)]


async def test_agents_take_turns_at_getting_vectors(storage: Storage) -> None:
    flood = [memory(agent_id="eve", importance=1.0) for _ in range(6)]
    others = [memory(), memory(agent_id="bob"), memory(), memory(agent_id="zoe")]
    await store(storage, *map(new, [*flood, *others]))
    ada, bob = (await get(storage, others[0].id)).document, (await get(storage, others[1].id)).document

    async def turns(limit: int, *without: int, after: str = "") -> list[str]:
        async with storage.read() as snapshot:
            return [each.agent_id for each in await snapshot.memories.unembedded(limit, without, after)]

    assert await turns(4) == ["ada", "bob", "eve", "zoe"]
    assert await turns(3, after="bob") == ["eve", "zoe", "ada"]
    assert await turns(3, after="carl") == ["eve", "zoe", "ada"]
    assert await turns(6, after="eve") == ["zoe", "ada", "bob", "eve", "ada", "eve"]
    assert await turns(2, ada, bob) == ["ada", "eve"]
    assert await turns(2, bob, after="ada") == ["eve", "zoe"]
    assert sorted(await turns(99, after="zoe")) == sorted(each.agent_id for each in [*flood, *others])


async def test_vectors_are_added_to_the_texts_that_still_wait(storage: Storage) -> None:
    waiting, embedded = memory(), memory()
    await store(storage, new(waiting), new(embedded, vector=EAST))
    numbers = [(await get(storage, each.id)).document for each in (waiting, embedded)]

    async with storage.write() as unit:
        added = await unit.changes.put_vectors({numbers[0]: NORTH, numbers[1]: NORTH, 999: NORTH})

    assert added == 1
    assert await storage.vectors([*numbers, 999]) == {numbers[0]: NORTH, numbers[1]: EAST}
    assert await documents(storage) == numbers


async def test_documents_with_a_vector_are_parted_by_namespace_and_audience(storage: Storage) -> None:
    levels = [AccessLevel.PRIVATE, AccessLevel.TEAM, AccessLevel.SHARED, AccessLevel.PUBLIC, AccessLevel.SYSTEM]
    memories = [memory(access_level=level) for level in levels]
    memories += [memory(agent_id="bob"), memory(namespace="acme/backend"), memory()]
    await store(storage, *(new(each, vector=EAST) for each in memories), new(memory()))

    async with storage.read() as snapshot:
        parted = await snapshot.memories.partitions()

    assert {name: numbers.tolist() for name, numbers in parted.items()} == {
        "acme|private|ada": [1, 8],
        "acme|team": [2],
        "acme|shared": [3],
        "acme|open": [4, 5],
        "acme|private|bob": [6],
        "acme/backend|private|ada": [7],
    }


async def test_a_document_follows_its_memory_to_another_partition(storage: Storage) -> None:
    await store(storage, new(memory(), vector=EAST))
    async with storage.read() as snapshot:
        (private,) = await snapshot.memories.page(scope(), after=None, limit=1, order="newest")

    await replace(storage, private, new(attrs.evolve(private, access_level=AccessLevel.TEAM)))

    async with storage.read() as snapshot:
        assert await snapshot.memories.partitions() == {"acme|team": array("q", [1])}


async def test_an_empty_store_has_no_partitions(storage: Storage) -> None:
    async with storage.read() as snapshot:
        assert await snapshot.memories.partitions() == {}


async def test_every_change_of_memories_shows_in_the_number_of_changes(storage: Storage) -> None:
    seen = [await storage.changes()]
    await store(storage, new(memory()))
    seen.append(await storage.changes())
    async with storage.read() as snapshot:
        (stored,) = await snapshot.memories.page(scope(), after=None, limit=1, order="newest")
    async with storage.write() as unit:
        await unit.changes.put_vectors({stored.document: EAST})
    seen.append(await storage.changes())
    await replace(storage, stored, new(attrs.evolve(stored, access_level=AccessLevel.TEAM)))
    seen.append(await storage.changes())
    async with storage.write() as unit:
        await unit.changes.delete(stored)
    seen.append(await storage.changes())

    assert len(set(seen)) == 5
    assert await storage.changes() == seen[-1]


async def test_an_agent_is_registered_once(storage: Storage) -> None:
    now = DAY + timedelta(microseconds=7)
    ada = Agent(id="ada", namespace="acme", created_at=now, updated_at=now)
    async with storage.write() as unit:
        await unit.agents.add(ada)
        await unit.agents.add(attrs.evolve(ada, namespace="globex"))

    async with storage.read() as snapshot:
        assert await snapshot.agents.find("ada") == ada
        assert await snapshot.agents.find("bob") is None
        assert await snapshot.agents.count() == 1


async def test_the_first_model_stays_the_active_one(storage: Storage) -> None:
    assert await storage.model() is None
    async with storage.write() as unit:
        await unit.use_model(MODEL)
        await unit.use_model(MODEL)

    assert await storage.model() == MODEL


@pytest.mark.parametrize("other", [{"name": "other"}, {"dimension": 5}, {"digest": "d2"}])
async def test_another_model_is_refused(storage: Storage, other: dict[str, str | int]) -> None:
    await store(storage)

    with pytest.raises(ModelMismatch) as raised:
        async with storage.write() as unit:
            await unit.use_model(EmbeddingModel(**(attrs.asdict(MODEL) | other)))

    assert MODEL.name in raised.value.message


async def test_a_model_of_unknown_digest_is_the_same_model(storage: Storage) -> None:
    await store(storage)

    async with storage.write() as unit:
        await unit.use_model(attrs.evolve(MODEL, digest=""))

    assert await storage.model() == MODEL


@pytest.mark.parametrize("wrong", [vector(1, 0, 0), vector(1, 0, 0, 0, 0)])
async def test_a_vector_of_another_dimension_is_refused(storage: Storage, wrong: Vector) -> None:
    with pytest.raises(ModelMismatch):
        await store(storage, new(memory(), vector=wrong))

    assert await documents(storage) == []


async def test_a_vector_without_a_model_is_refused(storage: Storage) -> None:
    with pytest.raises(ModelMismatch):
        async with storage.write() as unit:
            await unit.changes.add([new(memory(), vector=EAST)])


async def test_health_counts_memories_and_those_without_a_vector(storage: Storage) -> None:
    await store(storage, new(memory(updated_at=DAY - timedelta(days=1)), vector=EAST))
    assert (await storage.health()).waiting_since is None
    await store(storage, new(memory(updated_at=DAY + timedelta(days=1))), new(memory()))

    health = await storage.health()

    assert (health.memories, health.unembedded, health.waiting_since) == (3, 2, DAY)
    assert health.version
    assert health.bytes_on_disk > 0


async def test_a_thousand_memories_are_stored_at_once(storage: Storage) -> None:
    await store(storage, *(new(memory(), vector=EAST) for _ in range(1000)))

    assert len(await documents(storage)) == 1000
    assert await storage.integrity() == []
