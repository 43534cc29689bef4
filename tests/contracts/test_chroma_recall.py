"""How much Chroma finds."""

from pathlib import Path

import numpy as np
import pytest

from tests.contracts.derived import brute
from tmws_adapters.chroma import open_chroma
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.ports.index import IndexChange

pytestmark = pytest.mark.anyio

DIMENSION = 128


def random_vectors(count: int, seed: int) -> list[Vector]:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype("<f4")
    return [Vector((row / np.linalg.norm(row)).tobytes()) for row in rows]


async def test_a_search_for_few_of_many_random_vectors_misses_next_to_none(tmp_path: Path) -> None:
    held = dict(enumerate(random_vectors(5000, 1), start=1))
    queries = random_vectors(20, 2)
    async with open_chroma(directory=tmp_path, url=None) as index:
        await index.reset(EmbeddingModel(name="tests/random", dimension=DIMENSION))
        await index.apply([IndexChange(document=each, partition="a", vector=vector) for each, vector in held.items()])
        found = [{hit.document for hit in await index.search(["a"], query, 10)} for query in queries]

    wanted = [{hit.document for hit in brute(held, query, 10)} for query in queries]
    assert sum(len(each & best) for each, best in zip(found, wanted, strict=True)) >= 0.99 * 10 * len(queries)
