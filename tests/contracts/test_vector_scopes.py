"""The contract of VectorIndex over a store: whatever a scope holds, the nearest of it are found, and nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import pytest

from tests.contracts.builders import EVERYTHING, MODEL, memory, new, scope, vector
from tests.contracts.derived import brute
from tests.contracts.steps import store
from tests.contracts.stores import STORES, open_store
from tests.servers.postgres import PostgresServer
from tmws_adapters.exact import open_exact
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.memory import AccessLevel, MemoryType
from tmws_core.errors import ModelMismatch, ModelReplaced
from tmws_core.ports.storage import Searchable, Storage
from tmws_core.ports.vector import VectorIndex
from tmws_core.services.recall import searchable_in

pytestmark = pytest.mark.anyio

DIMENSION = 64
COUNT = 3000
MEMORY = 10**8
"""Bytes for the vectors of such a store, by far enough."""

SMALL = 60
"""Documents up to which the index of the store compares one by one in these tests, so that its graph is asked, too."""

QUERIES = 20
EAST, NORTH = vector(1, 0, 0, 0), vector(0, 1, 0, 0)


@attrs.frozen
class Indexed:
    storage: Storage
    index: VectorIndex


def graph_of(opened: PostgresStore) -> VectorIndex:
    """Return the store's own index, which takes few documents for many."""
    return attrs.evolve(opened.vectors, exact=SMALL)


@asynccontextmanager
async def open_kept(url: str, memory: int = MEMORY) -> AsyncIterator[Indexed]:
    """Open the store with its index that has the vectors in memory, and takes none for few."""
    async with open_postgres(url) as opened, open_exact(opened.storage.vectors) as exact:
        index, _, _ = opened.vectors.keeping(exact, memory)
        yield Indexed(opened.storage, index)


@asynccontextmanager
async def open_indexed(kind: str, directory: Path, server: Callable[[], PostgresServer]) -> AsyncIterator[Indexed]:
    if kind == "pgvector":
        with server().database() as url:
            async with open_postgres(url) as opened:
                yield Indexed(opened.storage, graph_of(opened))
    elif kind == "kept":
        with server().database() as url:
            async with open_kept(url) as kept:
                yield kept
    else:
        async with (
            open_store(kind, directory, server) as opened_store,
            open_exact(opened_store.storage.vectors) as exact,
        ):
            yield Indexed(opened_store.storage, exact)


@pytest.fixture(params=[*STORES, "pgvector", "kept"])
async def indexed(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer]
) -> AsyncIterator[Indexed]:
    async with open_indexed(request.param, tmp_path, postgres_if_asked) as opened:
        yield opened


async def searchable(indexed: Indexed, wanted: Scope) -> Searchable:
    return await searchable_in(indexed.storage, wanted, indexed.index)


async def nearest(indexed: Indexed, wanted: Scope, query: Vector, limit: int) -> list[int]:
    found = await indexed.index.search(await searchable(indexed, wanted), query, limit)
    return [hit.document for hit in found.hits]


async def test_the_nearest_comes_first_with_its_cosine(indexed: Indexed) -> None:
    await store(indexed.storage, *(new(memory(), vector=each) for each in (NORTH, vector(3, 4, 0, 0), EAST)))

    found = await indexed.index.search(await searchable(indexed, scope()), EAST, 2)

    assert [hit.document for hit in found.hits] == [3, 2]
    assert [hit.score for hit in found.hits] == pytest.approx([1.0, 0.6])
    assert (found.source, found.degraded) == (indexed.index.source, None)


async def test_equally_near_documents_come_newest_first_even_at_the_limit(indexed: Indexed) -> None:
    await store(indexed.storage, *(new(memory(), vector=EAST) for _ in range(9)))

    assert await nearest(indexed, scope(), EAST, 3) == [9, 8, 7]


async def test_a_store_without_vectors_has_nothing_near(indexed: Indexed) -> None:
    async with indexed.storage.write() as unit:
        await unit.changes.add([new(memory())])

    assert await nearest(indexed, scope(), EAST, 3) == []


async def test_texts_without_a_vector_are_passed_over(indexed: Indexed) -> None:
    await store(indexed.storage, new(memory()), new(memory(), vector=EAST))

    assert await nearest(indexed, scope(), EAST, 3) == [2]


async def test_a_deleted_memory_is_not_near_any_more(indexed: Indexed) -> None:
    await store(indexed.storage, *(new(memory(), vector=EAST) for _ in range(2)))
    async with indexed.storage.write() as unit:
        (newest,) = await unit.memories.page(scope(), after=None, limit=1, order="newest")
        await unit.changes.delete(newest)

    assert await nearest(indexed, scope(), EAST, 3) == [1]


async def test_a_query_of_another_dimension_is_refused(indexed: Indexed) -> None:
    await store(indexed.storage, new(memory(), vector=EAST))

    with pytest.raises(ModelMismatch):
        await nearest(indexed, scope(), vector(1, 0, 0), 3)


VECTORS = EmbeddingModel(name="tests/many", dimension=DIMENSION)

SCOPES = {
    "all that is there": scope(),
    "an agent's": scope(Visibility("agent 3", "team 3")),
    "a team's and what is public": scope(Visibility("stranger", "team 1")),
    "what is public": scope(Visibility("stranger", "void")),
    "one namespace": scope(namespace="team 2"),
    "one agent's own": scope(agent_id="agent 7"),
    "one session": scope(session_id="session 5"),
    "one kind": scope(memory_type=MemoryType.WORKING),
    "the important": scope(min_importance=0.95),
    "what is far away": scope(tags_any=("far",)),
    "nothing": scope(namespace="void"),
}


def rows() -> npt.NDArray[np.float32]:
    """Return vectors in groups, as texts are about topics; the last tenth lies on the other side of all others."""
    random = np.random.default_rng(5)
    topics = random.standard_normal((40, DIMENSION))
    made = topics[random.integers(0, 40, COUNT)] + 0.7 * random.standard_normal((COUNT, DIMENSION)) + 1.0
    made[-COUNT // 10 :] *= -1
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype="<f4")


async def fill(storage: Storage, vectors: npt.NDArray[np.float32]) -> None:
    random = np.random.default_rng(6)
    levels = [AccessLevel.PRIVATE, AccessLevel.TEAM, AccessLevel.PUBLIC]
    async with storage.write() as unit:
        await unit.use_model(VECTORS)
        await unit.changes.add(
            [
                new(
                    memory(
                        agent_id=f"agent {number % 50}",
                        namespace=f"team {number % 5}",
                        access_level=levels[int(random.integers(0, 3))],
                        session_id=f"session {number // 100}",
                        memory_type=MemoryType.WORKING if number % 97 == 0 else MemoryType.SEMANTIC,
                        importance=float(random.random()),
                        tags=("far",) if number >= COUNT - COUNT // 10 else (),
                    ),
                    vector=Vector(row.tobytes()),
                )
                for number, row in enumerate(vectors)
            ]
        )


async def test_in_every_scope_the_graph_finds_what_an_exact_search_finds(postgres: PostgresServer) -> None:
    vectors = rows()
    queries = [Vector(row.tobytes()) for row in vectors[:: COUNT // QUERIES]]
    with postgres.database() as url:
        async with open_postgres(url) as opened:
            await fill(opened.storage, vectors)
            indexed = Indexed(opened.storage, graph_of(opened))
            recalls = {name: await recall(indexed, wanted, queries) for name, wanted in SCOPES.items()}

    assert min(recalls.values()) >= 0.99, recalls


async def test_where_the_graph_gives_up_all_of_the_scope_is_compared(postgres: PostgresServer) -> None:
    vectors = rows()
    with postgres.database() as url:
        async with open_postgres(url) as opened:
            await fill(opened.storage, vectors)
            hasty = attrs.evolve(opened.vectors, exact=SMALL, scanned=1)
            indexed = Indexed(opened.storage, hasty)

            found = await recall(indexed, SCOPES["what is far away"], [Vector(vectors[0].tobytes())])

    assert found == 1.0


async def recall(indexed: Indexed, wanted: Scope, queries: list[Vector]) -> float:
    """Return the share of the ten nearest that is found; nothing outside of the scope may be."""
    async with indexed.storage.read() as snapshot:
        documents = (await snapshot.memories.searchable(wanted)).documents
    held = await indexed.storage.vectors(documents)
    shares = []
    for query in queries:
        found = await nearest(indexed, wanted, query, 10)
        true = [hit.document for hit in brute(held, query, 10)]
        assert set(found) <= set(documents)
        assert len(found) == len(true)
        shares.append(len(set(found) & set(true)) / len(true) if true else 1.0)
    return float(np.mean(shares))


async def test_a_search_that_a_change_of_the_model_overtakes_says_so(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_postgres(url) as opened:
            await store(opened.storage, new(memory(), vector=EAST))
            indexed = Indexed(opened.storage, opened.vectors)
            asked = attrs.evolve(await searchable(indexed, scope(EVERYTHING)), model=attrs.evolve(MODEL, edition=2))

            with pytest.raises(ModelReplaced):
                await opened.vectors.search(asked, EAST, 3)
