"""The vector index that plans each search."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import attrs

from tmws_adapters.partitioned.costs import Costs, candidates
from tmws_adapters.partitioned.coverage import Coverage, Part, Plan
from tmws_adapters.partitioned.following import INTERVAL, Follower
from tmws_adapters.partitioned.proofs import RECALL, Proofs
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.index import DerivedIndex
from tmws_core.ports.storage import Searchable, Storage
from tmws_core.ports.vector import Nearest, VectorIndex


@attrs.frozen(eq=False)
class PartitionedIndex:
    """A VectorIndex over an exact and an approximate one.

    Each search asks the partitions that answer for less than an exact search would cost, and is exact in all else: in
    small sets of documents, in those of which too little of a partition is allowed, in partitions that have not proven
    to find enough, and in what has not yet come to the approximate index. While that is out of reach, searches that
    would ask it are exact, named `fallback`.
    """

    _exact: VectorIndex
    _derived: DerivedIndex
    follower: Follower
    _costs: Costs
    _fallback: str
    _proofs: Proofs
    _asking: Callable[[], EmbeddingModel | None] | None = None

    @property
    def source(self) -> str:
        """The word for `search_source` when the approximate index has answered."""
        return self._derived.source

    @property
    def resolves_scopes(self) -> bool:
        """Tell whether it finds out by itself what a scope holds."""
        return False

    async def search(self, searchable: Searchable, query: Vector, limit: int) -> Nearest:
        """Return the `limit` searchable documents nearest to the query.

        Of equally near ones the one with the higher number comes first.
        """
        allowed = searchable.documents
        self.follower.searched = anyio.current_time()
        least = candidates(limit, 1, 1)
        if not self._costs.favour_index(query.dimension, candidates=least, documents=len(allowed)):
            return await self._exact.search(searchable, query, limit)
        failure = self.follower.failure
        if failure is None:
            try:
                return await self._planned(searchable, query, limit)
            except IndexUnavailable as error:
                self.follower.fail(error)
                failure = error
        nearest = await self._exact.search(searchable, query, limit)
        return attrs.evolve(nearest, source=self._fallback, degraded=failure.message)

    async def health(self) -> dict[str, int]:
        """Count the vectors in memory, and the documents in the approximate index and on their way to it.

        Raises:
            IndexUnavailable: the approximate index is out of reach.
        """
        if self.follower.failure is not None:
            raise attrs.evolve(self.follower.failure)
        if not self.follower.heard:
            await self._derived.status()
        coverage = self.follower.coverage
        indexed = 0 if coverage is None else sum(coverage.counts.values())
        return {**await self._exact.health(), "indexed": indexed, "waiting": self.follower.waiting}

    async def _planned(self, searchable: Searchable, query: Vector, limit: int) -> Nearest:
        coverage = self.follower.coverage
        if coverage is None or (self._asking is not None and self._asking() != self.follower.model):
            return await self._exact.search(searchable, query, limit)
        plan = coverage.plan(searchable.documents, query.dimension, limit, self._costs)
        judged, trusted = self._proofs.due(plan.parts), self._proofs.trusted(plan.parts)
        if plan.parts and trusted and not judged:
            hits = await self._approximate(coverage, plan, searchable, query, limit)
            if hits is not None:
                return Nearest(hits=hits, source=self.source)
        nearest = await self._exact.search(searchable, query, limit)
        if judged:
            hits = await self._approximate(coverage, plan, searchable, query, limit)
            if hits is not None:
                partitions = coverage.partitions([hit.document for hit in nearest.hits], plan.parts)
                self._proofs.judge(partitions, nearest.hits, hits, limit)
        return nearest

    async def _approximate(
        self, coverage: Coverage, plan: Plan, searchable: Searchable, query: Vector, limit: int
    ) -> list[Hit] | None:
        """Ask the plan's partitions, and compare all else exactly; None as in `_widened`."""
        rest = attrs.evolve(searchable, documents=plan.rest)
        best: Sequence[Hit] = (await self._exact.search(rest, query, limit)).hits
        for part in plan.parts:
            hits = await self._widened(coverage, plan, part, best, query, limit)
            if hits is None:
                return None
            best = hits
        moved = coverage.moved(plan)
        if moved:
            late = attrs.evolve(searchable, documents=moved)
            best = [*best, *(await self._exact.search(late, query, limit)).hits]
        return _best(best, limit)

    async def _widened(  # noqa: PLR0917 - all of one search
        self, coverage: Coverage, plan: Plan, part: Part, best: Sequence[Hit], query: Vector, limit: int
    ) -> list[Hit] | None:
        """Return the best with those of the part, which is asked for more until nothing better can be left in it.

        None if an exact search is the better way: it is cheaper by now, or the index holds less than was thought.
        """
        asked = part.candidates
        while True:
            found = await self._derived.search([part.name], query, asked)
            if len(found) < min(asked, part.held) and plan.removals == coverage.removals:
                self.follower.doubt()
                return None
            better = _best([*best, *plan.within(found)], limit)
            if len(found) < asked or (len(better) == limit and better[-1].score >= found[-1].score):
                return better
            asked *= 2
            if not self._costs.favour_index(query.dimension, candidates=asked, documents=part.allowed):
                return None


@asynccontextmanager
async def open_partitioned(
    exact: VectorIndex,
    derived: DerivedIndex,
    storage: Storage,
    *,
    fallback: str = "sqlite_fallback",
    costs: Costs | None = None,
    interval: timedelta = INTERVAL,
    room: int = 0,
    recall: float = RECALL,
    follow: bool = True,
    asking: Callable[[], EmbeddingModel | None] | None = None,
) -> AsyncIterator[PartitionedIndex]:
    """Open an index that keeps `derived` equal to the store in the background while it is open; waits for nothing.

    `fallback` is the `search_source` while `derived` is out of reach. It holds at most `room` documents, the most
    recently written, or any number if that is 0. A partition answers only while it finds `recall` of the ten nearest,
    as exact searches beside it show; with 0 it need not. Without `follow` it is left to the caller to run the follower.

    `asking` returns the model of the queries: what the index holds of another model is not asked for.
    """
    chosen = costs or Costs()
    follower = Follower(storage, derived, chosen, interval, room)
    try:
        async with anyio.create_task_group() as tasks:
            if follow:
                tasks.start_soon(follower.run)
            try:
                yield PartitionedIndex(exact, derived, follower, chosen, fallback, Proofs(recall), asking)
            finally:
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise (group.exceptions[0] if len(group.exceptions) == 1 else group) from None


def _best(hits: Sequence[Hit], limit: int) -> list[Hit]:
    scores = {hit.document: hit.score for hit in hits}
    return [
        Hit(document, score)
        for document, score in sorted(scores.items(), key=lambda item: (-item[1], -item[0]))[:limit]
    ]
