"""A vector index inside the store: pgvector, which resolves the scope of a search by itself."""

from collections.abc import Mapping
from typing import Any

import attrs

from tmws_adapters.postgres.connections import Reading
from tmws_adapters.postgres.kept import Kept, Near
from tmws_adapters.postgres.lexical import PostgresLexical
from tmws_adapters.postgres.models import INDEXED_DIMENSIONS, active_model
from tmws_adapters.postgres.predicate import ONE_MEMORY, inside
from tmws_adapters.postgres.readers import ALL, audience_for
from tmws_adapters.postgres.session import Session
from tmws_adapters.postgres.sizes import Sizes
from tmws_core.domain.access import Scope
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import ModelMismatch, ModelReplaced
from tmws_core.ports.storage import Searchable
from tmws_core.ports.vector import Nearest, VectorIndex

EXACT = 25_000
"""Documents of a scope up to which each is compared. Of 100,000 memories 10,000 take 19 ms so, and 60 ms by the graph,
which meets ten others for each of them; all take 57 ms and 19 ms."""

SCANNED = 200_000
"""Vectors that the graph looks at, at most: where it has found too few by then, all of the scope is compared instead.

In larger stores a scope that lies far from the query may get hits that are not the nearest (.96 of them are, in a store
that is seven times as large as this).
"""

_EXACT = """
    SELECT e.document, -(e.vector <#> %(query)s) FROM memories_v2 AS m
    JOIN embeddings AS e ON e.document = m.document AND e.model = m.model
    WHERE m.model = {model} AND {inside}
    ORDER BY e.vector <#> %(query)s, e.document DESC LIMIT %(limit)s
"""

_GRAPH = """
    SELECT near.document, -(near.vector <#> %(query)s) FROM (
        SELECT e.document, e.vector FROM embeddings AS e CROSS JOIN LATERAL (
            {allowed}
        ) AS allowed
        WHERE e.model = {model}
        ORDER BY (e.vector::halfvec({dimension})) <#> %(query)s::halfvec({dimension}) LIMIT %(limit)s
    ) AS near ORDER BY near.vector <#> %(query)s, near.document DESC
"""
"""The graph yields one after the other, nearest first, and goes on until enough of them lie in the scope."""

_BY_GRAPH = """
    SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off;
    SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = 200;
    SET LOCAL hnsw.max_scan_tuples = {scanned}; SET LOCAL hnsw.scan_mem_multiplier = 16
"""
"""ef_search: recall@10 is .98 with 100, and .995 with 200. A planner without statistics sorts all vectors otherwise."""

_FREELY = "SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on"

_ONE_BY_ONE = """
    SET LOCAL max_parallel_workers_per_gather = 0;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off
"""
"""For scopes known to be small: 10,000 of 100,000 take 44 ms so, and 119 ms as the planner would have it, which
reads all vectors or starts processes (a busy machine)."""


@attrs.frozen(eq=False)
class PgVectorIndex:
    """A VectorIndex over the store's own vectors: exact in small scopes, by a graph (HNSW) in large ones.

    Where the graph ends before enough of the scope is found, as it does where a scope lies far away from the query,
    all of the scope is compared.
    """

    _connections: Reading
    _sizes: Sizes
    _lexical: PostgresLexical
    _timeline: str
    exact: int = EXACT
    scanned: int = SCANNED
    kept: Kept | None = None

    @property
    def source(self) -> str:
        """The word for `search_source`."""
        return "pgvector"

    @property
    def resolves_scopes(self) -> bool:
        """Tell whether it finds out by itself what a scope holds."""
        return True

    def keeping(self, exact: VectorIndex, memory: int) -> tuple["PgVectorIndex", PostgresLexical, Kept]:
        """Return this index with vectors in memory as well, which `exact` compares, and what loads them there.

        The index of words, which comes with it, goes by the scopes that are remembered then. `memory` is how many bytes
        all vectors may take; where they take more, none are kept.
        """
        kept = Kept(self._connections, exact, memory, self._timeline)
        return attrs.evolve(self, kept=kept), attrs.evolve(self._lexical, held=kept.held), kept

    async def search(self, searchable: Searchable, query: Vector, limit: int) -> Nearest:
        """Return the `limit` searchable documents nearest to the query.

        Of two equally near ones the one with the higher number comes first. ModelMismatch if the query has another
        dimension than the vectors, ModelReplaced if the store has changed its model meanwhile.
        """
        if searchable.model is None:
            return Nearest(hits=[], source=self.source)
        hits = await self._in_memory(searchable, searchable.model, query, limit)
        if hits is None:
            async with self._connections.lookup() as session:
                session.see(audience_for(searchable.scope.visibility))
                number = await _number(session, searchable, query)
                hits = await self._on_server(session, number, searchable.scope, query, limit)
        return Nearest(hits=hits, source=self.source)

    async def _in_memory(
        self, searchable: Searchable, model: EmbeddingModel, query: Vector, limit: int
    ) -> list[Hit] | None:
        if self.kept is None or query.dimension != model.dimension:
            return None
        async with self._connections.lookup() as session:
            size = await self._sizes.estimated(session, searchable.scope)
        if not await self.kept.ready(size.documents, model):
            return None
        async with self._connections.lookup() as session:
            documents = await self.kept.follow(session)
        # With no connection in hand: vectors that are new are fetched by another one.
        if not documents:
            return None
        near, share = Near(searchable, query, limit, documents), max(size.members, 1) / max(size.documents, 1)
        hits = await self.kept.nearest_known(near, share)
        return await self.kept.nearest(near, share) if hits is None else hits

    async def _on_server(self, session: Session, number: int, scope: Scope, query: Vector, limit: int) -> list[Hit]:
        await self._sizes.estimated(session, scope)
        part = inside(scope)
        values = {**part.values, "query": query, "limit": limit}
        allowed = ONE_MEMORY.format(document="e.document", inside=f"m.model = {number} AND {part.sql}")
        names = {"model": number, "dimension": query.dimension, "inside": part.sql, "allowed": allowed}
        small = not await self._sizes.exceeds(session, scope, self.exact)
        hits: list[Hit] = []
        if query.dimension <= INDEXED_DIMENSIONS and not small:
            hits = await _tuned(session, _BY_GRAPH.format(scanned=self.scanned), _GRAPH.format(**names), values)
        if len(hits) < limit:
            hits = await _tuned(session, _ONE_BY_ONE if small else _FREELY, _EXACT.format(**names), values)
        return hits

    async def health(self) -> dict[str, int]:
        """Return how many vectors the store holds of its model, and how many of them are kept in memory.

        They are told from the memories that are counted as they come and go: counting takes 200 ms for 200,000.
        """
        sql = """
            SELECT (SELECT coalesce(sum(memories), 0)::bigint FROM agent_belongings)
                - (SELECT count(*) FROM memories_v2 WHERE model IS NULL)
        """
        async with self._connections.lookup() as session:
            session.see([ALL])
            ((vectors,),) = await session.rows(sql)
        return {"vectors": int(vectors), **({"kept": self.kept.count} if self.kept else {})}


async def _number(session: Session, searchable: Searchable, query: Vector) -> int:
    active = await active_model(session)
    if active is None or active[1].model != searchable.model:
        name = "none" if active is None else active[1].model.name
        raise ModelReplaced(
            part="embedder",
            reason=f"the store has changed to vectors of {name} during the search",
            hint=f"Restart TMWS with the embedder set to {name}",
        )
    if query.dimension != active[1].model.dimension:
        raise ModelMismatch(
            part="embedder",
            reason=f"the query has {query.dimension} values, the vectors have {active[1].model.dimension}",
            hint="Set the embedder to the store's model",
        )
    return active[0]


async def _tuned(session: Session, tuning: str, sql: str, values: Mapping[str, Any]) -> list[Hit]:
    await session.script(tuning)
    rows = await session.rows(sql, values, afresh=True)
    return [Hit(document, score) for document, score in rows]
