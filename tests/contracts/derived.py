"""A DerivedIndex that forgets nothing and approximates nothing, until it is told to."""

from array import array
from collections.abc import Callable, Sequence

import anyio
import attrs
import numpy as np

from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.index import IndexChange, IndexStatus


@attrs.define(eq=False)
class MemoryIndex:
    """`broken` makes every call fail, `patience` the changes after so many; `meanwhile` runs during a search."""

    held: dict[str, dict[int, Vector]] = attrs.Factory(dict)
    model: EmbeddingModel | None = None
    broken: bool = False
    patience: int | None = None
    resets: int = 0
    meanwhile: Callable[[], None] | None = None

    @property
    def source(self) -> str:
        return "memory"

    async def apply(self, changes: Sequence[IndexChange]) -> None:
        await self._ready()
        for change in changes:
            if self.patience is not None:
                self.patience -= 1
                if self.patience < 0:
                    raise IndexUnavailable(part="memory", reason="is full")
            if change.vector is None:
                self.held.get(change.partition, {}).pop(change.document, None)
            else:
                self.held.setdefault(change.partition, {})[change.document] = change.vector

    async def search(self, partitions: Sequence[str], query: Vector, limit: int) -> list[Hit]:
        await self._ready()
        if self.meanwhile is not None:
            self.meanwhile()
        vectors = {number: each for name in partitions for number, each in self.held.get(name, {}).items()}
        return brute(vectors, query, limit)

    async def documents(self, partition: str) -> "array[int]":
        await self._ready()
        return array("q", sorted(self.held.get(partition, {})))

    async def drop(self, partition: str) -> None:
        await self._ready()
        self.held.pop(partition, None)

    async def reset(self, model: EmbeddingModel) -> None:
        await self._ready()
        self.held.clear()
        self.model = model
        self.resets += 1

    async def status(self) -> IndexStatus:
        await self._ready()
        counts = {name: len(documents) for name, documents in self.held.items()}
        return IndexStatus(partitions=counts, model=self.model, parameters={})

    async def _ready(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise IndexUnavailable(part="memory", reason="is broken", hint="Mend it")


def brute(vectors: dict[int, Vector], query: Vector, limit: int) -> list[Hit]:
    """Return the nearest documents, found the slow way."""
    if not vectors:
        return []
    rows = np.frombuffer(b"".join(each.data for each in vectors.values()), "<f4").reshape(len(vectors), -1)
    scores = (rows @ np.frombuffer(query.data, "<f4")).tolist()
    hits = [Hit(document, score) for document, score in zip(vectors, scores, strict=True)]
    return sorted(hits, key=lambda hit: (-hit.score, -hit.document))[:limit]
