"""Vectors that this process keeps in memory, for scopes that are too large to be compared on the server."""

import logging
import time
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import attrs

from tmws_adapters.postgres.connections import Reading
from tmws_adapters.postgres.models import active_model
from tmws_adapters.postgres.predicate import inside
from tmws_adapters.postgres.readers import audience_for
from tmws_adapters.postgres.scopes import LARGEST, Held, Members, Scopes, Wanted, wanted_by
from tmws_adapters.postgres.session import Row, Session
from tmws_adapters.sql.models import Numbered
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.memory import MemoryFilter
from tmws_core.domain.ranking import Hit
from tmws_core.errors import TmwsError
from tmws_core.ports.storage import Searchable
from tmws_core.ports.vector import VectorIndex

logger = logging.getLogger("tmws.postgresql")

VALUE_BYTES = 5
"""What a value takes in memory: a float32, and a code of one byte."""

SPARE = 1.3
"""Times as many neighbours are looked at as a scope of this share should need: its share near a query is another."""

SMALL = 2000
"""Documents of a scope that is remembered at once: asking for their numbers takes 2 ms, comparing them on the server
4."""

FEWEST = 500
"""Neighbours that are looked at, at least: 1 ms on the server."""

MOST = 4000
"""Neighbours that are looked at, at most. Beyond, the numbers of the scope are asked for: 10,000 take the server 7 to
10 ms, holding 1,300 neighbours against the scope 4 to 5 (a busy machine)."""

SHARES = 1000
"""Scopes whose share of the store is remembered."""

TRUSTED = 600.0
"""Seconds after which a server that was not asked meanwhile is taken for one never asked: it tells of the edits of a
day (see `edits`)."""

AT_ONCE = 5000
"""Documents whose vectors the first search waits for: 0.2 s."""

PAUSE = 5.0
"""Seconds between two attempts to load the vectors."""

GONE, GONE_LEAST = 1.25, 1000
"""Documents that are kept, at most: so many times those of the store, and so many more; then the gone are forgotten."""

_NEW = """
    SELECT (SELECT id FROM embedding_models WHERE active), {timeline}, of.server, pg_snapshot_xmin(of.snapshot)::text, (
        SELECT array_agg(document) FROM embeddings
        WHERE model = %(model)s AND xid >= coalesce(of.since, '0')
            AND xid < CASE WHEN of.since IS NULL THEN '18446744073709551615' ELSE pg_snapshot_xmax(of.snapshot) END
    ), (
        SELECT array_agg(document) FROM memory_edits WHERE xid >= of.since AND xid < pg_snapshot_xmax(of.snapshot)
    )
    FROM (
        SELECT pg_postmaster_start_time()::text AS server, pg_current_snapshot() AS snapshot, (
            SELECT since::xid8 FROM unnest(%(servers)s::text[], %(since)s::text[]) AS known (server, since)
            WHERE server = pg_postmaster_start_time()::text
        ) AS since
        OFFSET 0
    ) AS of
"""
"""What transactions wrote that had not ended at the last snapshot of this server, or all of it; and what they edited.

Servers differ in which transactions have ended, and after a failover their numbers mean others: so do the numbers of
documents, if it lost some. A new timeline tells of that. Rows that come from a dump may have numbers of the future.
"""

_INSIDE = """
    SELECT array_agg(m.document), min(m.expires_at) FROM memories_v2 AS m
    WHERE m.document = ANY(%(documents)s::bigint[]) AND m.model = %(model)s AND {inside}
"""

_MEMBERS = """
    SELECT array_agg(m.document ORDER BY m.document), min(m.expires_at)
    FROM memories_v2 AS m WHERE m.model = %(model)s AND {inside}
"""


_WITHOUT_VECTOR = """
    SELECT m.document FROM memories_v2 AS m WHERE m.model IS NULL AND {inside} LIMIT %(most)s
"""

FEW = 1000
"""Documents without a vector that are asked for with a scope, at most: as a rule there are none."""


_NO_SCOPE = Scope(visibility=Visibility("", ""), filter=MemoryFilter(), at=datetime(1970, 1, 1, tzinfo=UTC))
"""For a search that only fetches vectors."""


@attrs.frozen
class Near:
    """What is searched: the `limit` documents of the scope nearest to the query, out of `documents`, ascending."""

    searchable: Searchable
    query: Vector
    limit: int
    documents: "array[int]"


@attrs.define(eq=False)
class Kept:
    """All vectors of the active model in memory, once `run` has loaded them.

    What a scope holds is asked for once and remembered, as long as it is not too large: each search hears of what has
    changed since the last one, and asks for that only. Of other scopes the neighbours of a query are found among all
    vectors, and the server tells which of them lie in the scope: as many are looked at as it takes, so that the answer
    is exact.
    """

    _connections: Reading
    _exact: VectorIndex
    _bytes: int
    _told: str
    """The SQL that tells on which timeline the server is."""

    _model: Numbered | None = attrs.field(default=None, init=False)
    _documents: "array[int]" = attrs.field(factory=lambda: array("q"), init=False)
    _since: dict[str, tuple[str, float]] = attrs.field(factory=dict, init=False)
    _scopes: Scopes = attrs.field(factory=Scopes, init=False)
    _timeline: int = attrs.field(default=0, init=False)
    _new: str = attrs.field(init=False)
    _shares: "OrderedDict[Wanted, float]" = attrs.field(factory=OrderedDict, init=False)
    _wanted: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _loading: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _loaded: bool = attrs.field(default=False, init=False)

    @_new.default
    def _asks(self) -> str:
        return _NEW.format(timeline=self._told)

    async def run(self) -> None:
        """Load the vectors whenever they are wanted; what fails is tried again."""
        while True:
            await self._wanted.wait()
            try:
                await self._load()
            except TmwsError as error:
                logger.warning("⚠️ No vectors are kept in memory: %s", error.message)
            if self._loaded:
                self._wanted = anyio.Event()
            else:
                await anyio.sleep(PAUSE)

    @property
    def count(self) -> int:
        """Return how many vectors are kept."""
        return len(self._documents) if self._loaded else 0

    async def ready(self, documents: int, model: EmbeddingModel) -> bool:
        """Tell whether the vectors of a model are kept: few are loaded at once, and more in the background."""
        if documents * model.dimension * VALUE_BYTES > self._bytes:
            return False
        if self._loaded and not self._holds(model):
            self._drop()
        if not self._loaded:
            self._wanted.set()
            if documents <= AT_ONCE:
                await self._load()
        if len(self._documents) > GONE * documents + GONE_LEAST:
            self._documents, self._since = array("q"), {}
            self._scopes.forget()
        return self._loaded and self._holds(model)

    async def follow(self, session: Session) -> "array[int] | None":
        """Return which documents have a vector, ascending; None if another model has become the active one."""
        if self._model is None:
            return None
        asked = self._asked()
        (row,) = await session.last(self._new, asked, binary=True)
        return self._documents if await self._heard(asked, row) else None

    async def held(self, scope: Scope) -> Held | None:
        """Return all that a scope holds that is remembered; None for others, and where much of it has no vector."""
        if not self._loaded or self._scopes.find(scope) is None:
            return None
        part, asked = inside(scope), self._asked()
        async with self._connections.lookup() as session:
            session.see(audience_for(scope.visibility))
            # In this order: what gets its vector between the two is told by both, and not by neither.
            without, (row,) = await session.answers(
                (_WITHOUT_VECTOR.format(inside=part.sql), {**part.values, "most": FEW + 1}),
                (self._new, asked),
                ends=True,
            )
        if not await self._heard(asked, row) or len(without) > FEW:
            return None
        documents = await self._known(scope)
        return None if documents is None else Held(documents, frozenset(document for (document,) in without))

    def _asked(self) -> dict[str, Any]:
        since = {server: each for server, each in self._since.items() if time.monotonic() - each[1] < TRUSTED}
        begun = [begun for begun, _ in since.values()]
        return {"model": None if self._model is None else self._model[0], "servers": list(since), "since": begun}

    async def _heard(self, asked: Mapping[str, Any], row: Row) -> bool:
        """Take in what has changed, and tell whether what is kept is still of use."""
        active, timeline, server, begun, added, edited = row
        if active != asked["model"] or timeline < self._timeline:
            return False
        former, self._timeline = self._timeline, timeline
        if former and timeline > former:
            self._drop()
            return False
        self._documents = _joined(self._documents, added or ())
        since = dict(zip(asked["servers"], asked["since"], strict=True)).get(server)
        if since is None:
            self._scopes.forget()
        else:
            self._scopes.note({*(added or ()), *(edited or ())})
        if since is None or self._since.get(server, ("", 0.0))[0] == since:
            self._since[server] = begun, time.monotonic()
        return True

    def _holds(self, model: EmbeddingModel) -> bool:
        return self._model is not None and self._model[1].model == model

    def _drop(self) -> None:
        """Load all vectors anew: those in memory are of another model, or another timeline."""
        self._loaded, self._documents, self._since = False, array("q"), {}
        self._scopes.forget()

    async def _known(self, scope: Scope) -> "array[int] | None":
        """Return what a scope holds that is remembered, as of the last time that changes were heard of."""
        found = self._scopes.find(scope)
        if found is None:
            return None
        members, changed = found
        if changed:
            place = self._scopes.place
            held, until = await self._asked_of(_INSIDE, scope, documents=list(changed))
            members = members.changed(changed, held, until, place)
            self._scopes.keep(scope, members)
        return members.documents

    async def nearest_known(self, near: Near, share: float) -> list[Hit] | None:
        """Return what is nearest in a scope that is remembered, or is to be from now on; None for others.

        A scope is remembered that is asked for the second time, and a small one at once.
        """
        scope = near.searchable.scope
        documents = await self._known(scope)
        if documents is None:
            members = min(share, self._shares.get(wanted_by(scope), 1.0)) * len(near.documents)
            if members > LARGEST or (not self._scopes.wanted_again(scope) and members > SMALL):
                return None
            documents = await self._members(scope)
        return await self._nearest_of(documents, near, near.limit)

    async def nearest(self, near: Near, share: float) -> list[Hit]:
        """Return what is nearest in a scope that holds about this share of the store: of any scope the right answer."""
        key = wanted_by(near.searchable.scope)
        share = min(share, self._shares.get(key, 1.0))
        while True:
            reach = min(max(FEWEST, near.limit, int(SPARE * near.limit / share)), len(near.documents))
            if reach > MOST:
                members = await self._members(near.searchable.scope)
                self._remember(key, (len(members) + 1) / len(near.documents))
                return await self._nearest_of(members, near, near.limit)
            hits = await self._inside(await self._nearest_of(near.documents, near, reach), near)
            self._remember(key, (len(hits) + 1) / (reach + 1))
            if len(hits) >= near.limit or reach == len(near.documents):
                return hits[: near.limit]
            share = min(share / 2, self._shares[key])

    def _remember(self, wanted: Wanted, share: float) -> None:
        self._shares[wanted] = share
        self._shares.move_to_end(wanted)
        if len(self._shares) > SHARES:
            self._shares.popitem(last=False)

    async def _nearest_of(self, documents: "array[int]", near: Near, limit: int) -> list[Hit]:
        asked = attrs.evolve(near.searchable, timeline=self._timeline, documents=documents)
        return (await self._exact.search(asked, near.query, limit)).hits

    async def _members(self, scope: Scope) -> "array[int]":
        place = self._scopes.place
        documents, until = await self._asked_of(_MEMBERS, scope)
        self._scopes.keep(scope, Members(documents, until, place))
        return documents

    async def _inside(self, hits: Sequence[Hit], near: Near) -> list[Hit]:
        documents, _ = await self._asked_of(_INSIDE, near.searchable.scope, documents=[hit.document for hit in hits])
        found = set(documents)
        return [hit for hit in hits if hit.document in found]

    async def _asked_of(self, sql: str, scope: Scope, **values: object) -> "tuple[array[int], datetime | None]":
        part = inside(scope)
        async with self._connections.lookup() as session:
            session.see(audience_for(scope.visibility))
            asked = {**part.values, **values, "model": None if self._model is None else self._model[0]}
            ((numbers, until),) = await session.last(sql.format(inside=part.sql), asked, binary=True)
        return array("q", numbers or ()), until

    async def _load(self) -> None:
        async with self._loading:
            if self._loaded:
                return
            async with self._connections.lookup() as session:
                model = await active_model(session)
                if model != self._model:
                    self._drop()
                self._model = model
                documents = await self.follow(session)
            if self._model and documents:
                anything = Vector(array("f", [1.0] * self._model[1].model.dimension).tobytes())
                searchable = Searchable(scope=_NO_SCOPE, model=self._model[1].model)
                await self._nearest_of(documents, Near(searchable, anything, 1, documents), 1)
                self._loaded = True


def _joined(known: "array[int]", added: Sequence[int]) -> "array[int]":
    """Return both in order; the former array stays as it is, as others may be reading it."""
    fresh = array("q", sorted(number for number in added if not _holds(known, number)))
    if not fresh:
        return known
    if not known or fresh[0] > known[-1]:
        return known + fresh
    return array("q", sorted(known + fresh))


def _holds(numbers: "array[int]", number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number
