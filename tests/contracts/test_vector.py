"""The contract of VectorIndex."""

from array import array
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import attrs
import numpy as np
import pytest

from tests.contracts.builders import MODEL, searchable, vector
from tmws_adapters.exact import ExactIndex, open_exact
from tmws_adapters.exact.index import BATCH, SPARE_ROWS
from tmws_adapters.exact.matrix import Matrix
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import ModelMismatch, ModelReplaced
from tmws_core.ports.vector import VectorIndex

pytestmark = pytest.mark.anyio


@attrs.define
class Vectors:
    """What the store would hand out, and what it was asked for."""

    by_document: dict[int, Vector] = attrs.field(factory=dict)
    asked: list[list[int]] = attrs.field(factory=list)
    refused: EmbeddingModel | None = None
    others: dict[tuple[EmbeddingModel | None, int], dict[int, Vector]] = attrs.field(factory=dict)

    async def fetch(self, documents: Sequence[int], model: EmbeddingModel | None, timeline: int) -> dict[int, Vector]:
        self.asked.append(list(documents))
        await anyio.lowlevel.checkpoint()
        if model == self.refused:
            raise ModelReplaced(part="embedder", reason="the store has changed its model", hint="Restart")
        held = self.others.get((model, timeline), self.by_document)
        return {document: held[document] for document in documents if document in held}

    def fill(self, documents: range) -> None:
        rows = np.random.default_rng(1).standard_normal((len(documents), 8)).astype("<f4")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.by_document.update(
            {document: Vector(row.tobytes()) for document, row in zip(documents, rows, strict=True)}
        )

    def best(self, allowed: Sequence[int], query: Vector, limit: int) -> list[int]:
        """Return the answer, found the slow way."""
        direction = np.frombuffer(query.data, "<f4")
        scores = {
            document: float(np.frombuffer(self.by_document[document].data, "<f4") @ direction) for document in allowed
        }
        return sorted(scores, key=lambda document: (-scores[document], -document))[:limit]


async def nearest(index: VectorIndex, allowed: "array[int]", query: Vector, limit: int) -> list[Hit]:
    return (await index.search(searchable(allowed), query, limit)).hits


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


@pytest.fixture
async def index(vectors: Vectors) -> AsyncIterator[ExactIndex]:
    async with open_exact(vectors.fetch) as opened:
        yield opened


def allow(*documents: int) -> "array[int]":
    return array("q", documents)


async def test_the_nearest_comes_first_with_its_cosine(index: ExactIndex, vectors: Vectors) -> None:
    vectors.by_document = {1: vector(1, 0), 2: vector(3, 4), 3: vector(-1, 0)}

    hits = await nearest(index, allow(1, 2, 3), vector(1, 0), 2)

    assert [hit.document for hit in hits] == [1, 2]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.6])


async def test_nothing_outside_the_allowed_documents_is_found(index: ExactIndex, vectors: Vectors) -> None:
    vectors.by_document = {1: vector(1, 0), 2: vector(0, 1), 3: vector(1, 0)}
    await nearest(index, allow(1, 2, 3), vector(1, 0), 3)

    assert [hit.document for hit in await nearest(index, allow(2), vector(1, 0), 3)] == [2]


async def test_equally_near_documents_come_newest_first_even_at_the_limit(index: ExactIndex, vectors: Vectors) -> None:
    vectors.by_document = dict.fromkeys(range(1, 9), vector(1, 0)) | {9: vector(0, 1)}

    hits = await nearest(index, allow(*range(1, 10)), vector(1, 0), 3)

    assert [hit.document for hit in hits] == [8, 7, 6]


async def test_no_allowed_documents_find_nothing(index: ExactIndex) -> None:
    assert await nearest(index, allow(), vector(1, 0), 3) == []


async def test_documents_without_a_vector_are_passed_over(index: ExactIndex, vectors: Vectors) -> None:
    vectors.by_document = {2: vector(1, 0)}

    assert [hit.document for hit in await nearest(index, allow(1, 2, 3), vector(1, 0), 3)] == [2]
    assert await nearest(index, allow(1, 3), vector(1, 0), 3) == []


async def test_a_vector_that_arrives_between_searches_is_found(index: ExactIndex, vectors: Vectors) -> None:
    vectors.by_document = {1: vector(1, 0)}
    await nearest(index, allow(1, 2), vector(1, 0), 3)
    vectors.by_document[2] = vector(1, 1)

    assert [hit.document for hit in await nearest(index, allow(1, 2), vector(1, 0), 3)] == [1, 2]


async def test_each_vector_is_fetched_once(index: ExactIndex, vectors: Vectors) -> None:
    vectors.fill(range(1, 101))

    await nearest(index, array("q", range(1, 51)), vectors.by_document[7], 3)
    await nearest(index, array("q", range(1, 101)), vectors.by_document[7], 3)
    await nearest(index, array("q", range(1, 101)), vectors.by_document[7], 3)

    assert vectors.asked == [list(range(1, 51)), list(range(51, 101))]


@pytest.mark.parametrize(
    "other", [{"model": attrs.evolve(MODEL, edition=2)}, {"timeline": 2}], ids=["weights", "timeline"]
)
async def test_vectors_of_another_model_or_timeline_are_not_compared(
    index: ExactIndex, vectors: Vectors, other: dict[str, Any]
) -> None:
    wanted = attrs.evolve(searchable(allow(1, 2)), **other)
    vectors.by_document = {1: vector(1, 0), 2: vector(0, 1)}
    vectors.others[wanted.model, wanted.timeline] = {1: vector(0, 1), 2: vector(1, 0)}
    assert [hit.document for hit in await nearest(index, allow(1, 2), vector(1, 0), 1)] == [1]

    assert [hit.document for hit in (await index.search(wanted, vector(1, 0), 1)).hits] == [2]
    assert [hit.document for hit in await nearest(index, allow(1, 2), vector(1, 0), 1)] == [1]


async def test_a_late_search_of_a_former_model_leaves_what_is_kept(index: ExactIndex, vectors: Vectors) -> None:
    vectors.by_document = {1: vector(1, 0)}
    await nearest(index, allow(1), vector(1, 0), 1)
    late = attrs.evolve(searchable(allow(1)), model=attrs.evolve(MODEL, edition=2))
    vectors.refused = late.model

    with pytest.raises(ModelReplaced):
        await index.search(late, vector(1, 0), 1)

    await nearest(index, allow(1), vector(1, 0), 1)
    assert vectors.asked == [[1], [1]]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
async def test_any_share_of_the_documents_is_ranked_as_by_hand(
    index: ExactIndex, vectors: Vectors, share: float
) -> None:
    vectors.fill(range(1, BATCH + 1000))
    await nearest(index, array("q", vectors.by_document), vectors.by_document[1], 1)
    chosen = np.random.default_rng(2).choice(list(vectors.by_document), int(BATCH * share), replace=False)
    allowed = sorted(chosen.tolist())
    query = vectors.by_document[17]

    hits = await nearest(index, array("q", allowed), query, 25)

    assert [hit.document for hit in hits] == vectors.best(allowed, query, 25)


async def test_searches_at_the_same_time_each_get_their_own_answer(index: ExactIndex, vectors: Vectors) -> None:
    vectors.fill(range(1, 2001))
    query = vectors.by_document[5]
    answers: dict[int, list[int]] = {}

    async def search(end: int) -> None:
        hits = await nearest(index, array("q", range(1, end)), query, 5)
        answers[end] = [hit.document for hit in hits]

    async with anyio.create_task_group() as tasks:
        for end in range(100, 2001, 100):
            tasks.start_soon(search, end)

    assert answers == {end: vectors.best(range(1, end), query, 5) for end in range(100, 2001, 100)}
    assert sorted(document for asked in vectors.asked for document in asked) == list(range(1, 2000))


def test_a_search_under_way_does_not_notice_that_vectors_are_added() -> None:
    before = Matrix.empty().with_vectors({1: vector(0, 1), 2: vector(1, 1)})

    after = before.with_vectors({3: vector(1, 0)})

    assert after.rows is before.rows
    assert [hit.document for hit in before.nearest(allow(1, 2, 3), vector(1, 0), 3)] == [2, 1]
    assert [hit.document for hit in after.nearest(allow(1, 2, 3), vector(1, 0), 3)] == [3, 2, 1]


async def test_a_cancelled_load_leaves_the_index_usable(index: ExactIndex, vectors: Vectors) -> None:
    vectors.fill(range(1, 101))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await nearest(index, array("q", range(1, 101)), vectors.by_document[1], 1)

    assert scope.cancelled_caught
    assert [hit.document for hit in await nearest(index, array("q", range(1, 101)), vectors.by_document[9], 1)] == [9]


async def test_vectors_of_documents_that_are_gone_are_dropped_in_the_end(index: ExactIndex, vectors: Vectors) -> None:
    vectors.fill(range(1, SPARE_ROWS + 2000))
    query = vectors.by_document[3]
    for start in range(1, SPARE_ROWS + 1500, 500):
        allowed = range(start, start + 500)
        hits = await nearest(index, array("q", allowed), query, 3)
        assert [hit.document for hit in hits] == vectors.best(allowed, query, 3)

    assert (await index.health())["vectors"] <= SPARE_ROWS + 1000
    assert [hit.document for hit in await nearest(index, allow(1, 2, 3), query, 1)] == [3]


async def test_a_query_of_another_dimension_is_refused(index: ExactIndex, vectors: Vectors) -> None:
    vectors.by_document = {1: vector(1, 0)}

    with pytest.raises(ModelMismatch):
        await nearest(index, allow(1), vector(1, 0, 0), 1)


async def test_health_counts_the_vectors_that_are_held(index: ExactIndex, vectors: Vectors) -> None:
    before = await index.health()
    vectors.by_document = {1: vector(1, 0), 2: vector(0, 1)}
    await nearest(index, allow(1, 2), vector(1, 0), 1)

    assert (before["vectors"], (await index.health())["vectors"]) == (0, 2)


def test_the_source_is_named_exact() -> None:
    assert ExactIndex(Vectors().fetch).source == "exact"
