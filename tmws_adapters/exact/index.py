"""A vector index that compares the query with every allowed vector."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from tmws_adapters.cancellation import in_thread
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit
from tmws_core.ports.storage import Searchable
from tmws_core.ports.vector import Nearest

if TYPE_CHECKING:
    from tmws_adapters.exact.matrix import Matrix

T = TypeVar("T")

FetchVectors = Callable[[Sequence[int], EmbeddingModel | None, int], Awaitable[dict[int, Vector]]]
"""Returns a model's vectors on a timeline of those documents that have one, by document; no others (see Searchable)."""

Origin = tuple[EmbeddingModel | None, int]
"""The model of vectors, and the timeline."""

BATCH = 5000
"""Vectors fetched at once: 7.5 MB with 384 dimensions."""

SPARE_ROWS = 10_000
"""Rows kept beyond twice the largest allowed set seen: 19 MB with 384 dimensions."""

THREADS = 2
"""Searches that compute at the same time; a product is bound by memory bandwidth, which two of them use up."""


@attrs.define(eq=False)
class ExactIndex:
    """A VectorIndex that keeps what it has fetched.

    A document's vector of one model never changes on one timeline of the store, so what is kept is never stale; a
    search of another model, or another timeline, begins anew. Rows of documents that are gone stay until there are too
    many (SPARE_ROWS); then only those that the search at hand may see are kept, and others fetched again.
    """

    _fetch: FetchVectors
    _held: "tuple[Origin, Matrix] | None" = attrs.field(default=None, init=False)
    _largest: int = attrs.field(default=0, init=False)
    _loading: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _limiter: anyio.CapacityLimiter = attrs.field(factory=lambda: anyio.CapacityLimiter(THREADS), init=False)

    @property
    def source(self) -> str:
        """The word for `search_source`."""
        return "exact"

    @property
    def resolves_scopes(self) -> bool:
        """Tell whether it finds out by itself what a scope holds."""
        return False

    async def search(self, searchable: Searchable, query: Vector, limit: int) -> Nearest:
        """Return the `limit` searchable documents nearest to the query.

        Of two equally near ones the one with the higher number comes first. ModelMismatch if the query has another
        dimension than the vectors.
        """
        hits = await self._search(searchable, query, limit) if searchable.documents else []
        return Nearest(hits=hits, source=self.source)

    async def _search(self, searchable: Searchable, query: Vector, limit: int) -> list[Hit]:
        allowed = searchable.documents
        self._largest = max(self._largest, len(allowed))
        kept = self._kept(searchable)
        if kept is not None:
            hits = await self._in_thread(partial(kept.complete, allowed, query, limit))
            if hits is not None:
                return hits
        matrix = await self._load(searchable)
        return await self._in_thread(partial(matrix.nearest, allowed, query, limit))

    async def health(self) -> dict[str, int]:
        """Return how many vectors are held, and the bytes that they take."""
        if self._held is None:
            return {"vectors": 0, "bytes": 0}
        _, matrix = self._held
        return {"vectors": matrix.count, "bytes": matrix.size}

    def _kept(self, searchable: Searchable) -> "Matrix | None":
        origin, matrix = self._held or (None, None)
        return matrix if origin == (searchable.model, searchable.timeline) else None

    async def _load(self, searchable: Searchable) -> "Matrix":
        allowed, origin = searchable.documents, (searchable.model, searchable.timeline)
        async with self._loading:
            kept = self._kept(searchable)
            matrix = await self._in_thread(_empty) if kept is None else kept
            missing = await self._in_thread(partial(matrix.missing, allowed))
            for start in range(0, len(missing), BATCH):
                vectors = await self._fetch(missing[start : start + BATCH], *origin)
                # Not before: a late search of a former model, which fails, leaves what is kept.
                matrix = await self._in_thread(partial(self._add, matrix, vectors, origin))
            if matrix.count > 2 * self._largest + SPARE_ROWS:
                matrix = await self._in_thread(partial(matrix.only, allowed))
                self._held = origin, matrix
            return matrix

    def _add(self, matrix: "Matrix", vectors: Mapping[int, Vector], origin: Origin) -> "Matrix":
        """Keep the matrix with these vectors, even if who asked is gone: only the newest one may be added to."""
        added = matrix.with_vectors(vectors)
        self._held = origin, added
        return added

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await in_thread(work, self._limiter)


@asynccontextmanager
async def open_exact(vectors: FetchVectors) -> AsyncIterator[ExactIndex]:
    """Open an index over the vectors that a store hands out; it holds memory only."""
    yield ExactIndex(vectors)


def _empty() -> "Matrix":
    # numpy takes 0.1 s to import, which a start without a search need not pay.
    from tmws_adapters.exact.matrix import Matrix  # noqa: PLC0415

    return Matrix.empty()
