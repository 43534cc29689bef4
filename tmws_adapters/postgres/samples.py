"""What the newest members of a scope are like: words are weighed by them, and by nothing else."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

import attrs

from tmws_adapters.postgres.predicate import inside
from tmws_adapters.postgres.readers import audience_for, readers_for
from tmws_adapters.postgres.scopes import Wanted, wanted_by
from tmws_adapters.postgres.session import Session
from tmws_core.domain.access import Scope

SAMPLE = 1000
"""Members that words are counted in. The share of a word that one in a hundred holds is wrong by a third, its weight by
a fifteenth."""

TRIED = (2 * SAMPLE, 10_000)
"""Newest memories of the caller among which the members are looked for; more where the first are not enough, and the
whole scope where none of these are. Holding one against the scope takes 4 us."""

KEPT_SCOPES, KEPT_WORDS = 64, 2000
"""Scopes whose sample is remembered, and words of each: 1 MB and 10 MB at most."""

_CHANGES = "SELECT sum(changes)::bigint FROM memory_changes"

_OF_READERS = """
    SELECT DISTINCT p.document FROM unnest(%(readers)s::text[]) AS wanted CROSS JOIN LATERAL (
        SELECT document FROM memory_postings WHERE word = wanted ORDER BY document DESC LIMIT %(tried)s
    ) AS p ORDER BY p.document DESC LIMIT %(tried)s
"""

_OF_ALL = "SELECT document FROM memories_v2 ORDER BY document DESC LIMIT %(tried)s"

_OF_SESSION = "SELECT document FROM memories_v2 WHERE session_id = %(session_id)s ORDER BY document DESC"

_OF_SCOPE = "SELECT m.document FROM memories_v2 AS m WHERE {inside}"
"""Without an order or a limit, so that the planner takes the index of the rarest thing that is asked for."""

_NEWEST = """
    WITH tried AS MATERIALIZED ({tried})
    SELECT array_agg(s.document), avg(w.tokens)::float8, min(s.expires_at) FILTER (WHERE s.expires_at > %(at)s),
        (SELECT count(*) FROM tried)
    FROM (
        SELECT m.document, m.expires_at FROM (SELECT document FROM tried ORDER BY document DESC) AS t
        CROSS JOIN LATERAL (
            SELECT m.document, m.expires_at FROM (SELECT * FROM memories_v2 WHERE document = t.document OFFSET 0) AS m
            WHERE {inside} OFFSET 0
        ) AS m LIMIT %(sample)s
    ) AS s JOIN memory_words AS w ON w.document = s.document
"""
"""As many are held against the scope, one by one, as it takes."""

_COUNT = """
    SELECT wanted, (
        SELECT count(*) FROM memory_postings WHERE word = wanted AND document = ANY(%(documents)s::bigint[])
    ), EXISTS (
        SELECT FROM (
            SELECT document FROM memory_postings WHERE word = wanted ORDER BY document DESC OFFSET %(listed)s LIMIT 1
        ) AS further
    )
    FROM unnest(%(words)s::text[]) AS wanted
"""


@attrs.frozen(eq=False)
class Sample:
    """The newest members of a scope, `whole` if it has no others, and how many `counts` of them hold a word.

    `crowded` are those words that more memories of the store hold than are listed of one.
    """

    documents: Sequence[int]
    average: float
    whole: bool
    counts: dict[str, int] = attrs.field(factory=dict)
    crowded: set[str] = attrs.field(factory=set)


@attrs.frozen(eq=False)
class _Kept:
    """A sample, and when it is the right one: for so many changes, and until one of its members expires."""

    sample: Sample
    changes: int
    since: datetime
    until: datetime | None

    def holds(self, changes: int, at: datetime) -> bool:
        return changes == self.changes and self.since <= at and (self.until is None or at < self.until)


@attrs.define(eq=False)
class Samples:
    """The samples of the scopes asked for last, each for as long as nothing changes."""

    _kept: "OrderedDict[Wanted, _Kept]" = attrs.field(factory=OrderedDict, init=False)

    async def of(self, session: Session, scope: Scope, words: Sequence[str], size: int, listed: int) -> Sample:
        """Return the sample of a scope, in which these words are counted; `size` members if more than SAMPLE.

        A word that more than `listed` memories of the store hold is crowded.
        """
        session.see(audience_for(scope.visibility))
        ((changes,),) = await session.rows(_CHANGES)
        kept = None if scope.historic or size > SAMPLE else self._kept.get(wanted_by(scope))
        if kept is None or not kept.holds(changes, scope.at):
            kept = await _taken(session, scope, changes, max(size, SAMPLE))
            if not scope.historic and size <= SAMPLE:
                self._keep(scope, kept)
        sample = kept.sample
        # A sample of its own: what is remembered may be forgotten while this search waits for the server.
        counts = {word: sample.counts[word] for word in words if word in sample.counts}
        crowded = sample.crowded.intersection(words)
        unknown = [word for word in words if word not in counts]
        if unknown and sample.documents:
            values = {"words": unknown, "documents": sample.documents, "listed": listed}
            rows = await session.rows(_COUNT, values, binary=True)
            counted = {word: count for word, count, _ in rows}
            more_crowded = {word for word, _, further in rows if further}
            if len(sample.counts) > KEPT_WORDS:
                sample.counts.clear()
                sample.crowded.clear()
            sample.counts.update(counted)
            sample.crowded.update(more_crowded)
            counts, crowded = counts | counted, crowded | more_crowded
        return attrs.evolve(sample, counts=counts, crowded=crowded)

    def _keep(self, scope: Scope, kept: _Kept) -> None:
        key = wanted_by(scope)
        self._kept[key] = kept
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_SCOPES:
            self._kept.popitem(last=False)


async def _taken(session: Session, scope: Scope, changes: int, size: int) -> _Kept:
    part, readers = inside(scope), readers_for(scope)
    newest = _OF_READERS if readers else _OF_ALL
    tries: list[tuple[str, int | None]] = [(newest, max(each, 2 * size)) for each in TRIED]
    tries.append((_OF_SCOPE.format(inside=part.sql), None))
    if scope.filter.session_id is not None:
        tries = [(_OF_SESSION, None)]
    documents: list[int] = []
    average, until, whole = 1.0, None, True
    for sql, tried in tries:
        values = {**part.values, "tried": tried, "sample": size, "readers": readers[0] if readers else []}
        asked = _NEWEST.format(tried=sql, inside=part.sql)
        ((found, mean, until, seen),) = await session.rows(asked, values, binary=True, afresh=True)
        documents, average = sorted(found or (), reverse=True), max(mean or 1.0, 1.0)
        whole = len(documents) < size and (tried is None or seen < tried)
        if whole or len(documents) == size:
            break
    return _Kept(Sample(documents, average, whole), changes, scope.at, until)
