"""Lexical search: BM25 over a table of postings."""

import math
from collections.abc import Sequence

import attrs

from tmws_adapters.postgres.connections import Reading
from tmws_adapters.postgres.frequencies import Frequencies
from tmws_adapters.postgres.predicate import ONE_MEMORY, inside
from tmws_adapters.postgres.readers import audience_for, readers_for
from tmws_adapters.postgres.session import Session
from tmws_adapters.postgres.words import stems
from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit

K1, B = 1.2, 0.75
"""What BM25 has in FTS5 (sqlite.org/fts5.html#the_bm25_function), so that both stores rank alike."""

LEAST_IDF = 1e-6
"""The weight of a word that more than half of the documents have, as in FTS5."""

SCORED = 1000
"""Matches that one search may score. With 500 recall@10 on LoCoMo drops from .806 to .800."""

SCORED_SHARE = 50
"""In a large store a search may score one in this many documents instead, so that its terms stay many enough."""

PASSED = 0.1
"""What a match costs that is passed over because its readers are others, in times of one that is scored."""

SMALL_SHARE = 5
"""Of a scope that holds less than one in this many documents, the members are looked up first."""

SMALL = 20_000
"""Members that are looked up at most: 5 ms."""

ENOUGH = 20
"""Hits with which a search does without its very frequent terms; two pages."""

KEPT_TERMS = 1
"""Terms that are kept however frequent they are."""

_MEMBERS = "AND p.document IN (SELECT document FROM memory_postings WHERE word = ANY(%(readers_{place})s::text[]))"

_SESSION = "AND p.document = ANY(ARRAY(SELECT document FROM memories_v2 WHERE session_id = %(session_id)s))"
"""A session is short as a rule: its matches are scored, instead of the newest of all being held against it. As an array
its members are looked up under each word; IN reads all entries of a frequent one, which takes 20 times as long."""

_SEARCH = f"""
    WITH scores AS MATERIALIZED (
        SELECT p.document, sum(
            q.idf * p.frequency * {K1 + 1} / (p.frequency + {2 * K1} * ({1 - B} + {B} * p.tokens / %(average)s))
        ) AS score
        FROM unnest(%(words)s::text[], %(idfs)s::float8[]) AS q (word, idf) CROSS JOIN LATERAL (
            SELECT document, frequency, tokens FROM memory_postings AS p
            WHERE p.word = q.word {{members}} ORDER BY p.document DESC LIMIT %(bound)s
        ) AS p
        GROUP BY p.document ORDER BY p.document DESC LIMIT %(bound)s
    )
    SELECT s.document, s.score
    FROM (SELECT document, score FROM scores ORDER BY score DESC, document DESC) AS s CROSS JOIN LATERAL (
        {{allowed}}
    ) AS allowed
    LIMIT %(limit)s
"""  # noqa: S608 - texts are constants, values are bound
"""The newest matches are scored, frequencies being halves; then the best are held against the scope one by one."""


@attrs.frozen
class _Question:
    """What a search asks for, and what it needs to know of the store: its documents and their average length."""

    scope: Scope
    readers: list[list[str]]
    documents: int
    average: float
    limit: int


@attrs.frozen(eq=False)
class PostgresLexical:
    """A LexicalIndex over memory_postings."""

    _connections: Reading
    _frequencies: Frequencies

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Of two equally good ones the one with the higher number comes first. Terms so frequent that scoring their
        matches would take long are left out as long as the rarer ones find enough; where they do not, the newest
        matches of all terms are scored as well, as many as time allows.
        """
        words = stems(terms)
        if not words:
            return []
        async with self._connections.lookup() as session:
            session.see(audience_for(scope.visibility))
            state = await self._frequencies.state(session)
            if not state.documents:
                return []
            members = await self._frequencies.members(session, scope)
            small = members < min(state.documents / SMALL_SHARE, SMALL)
            readers = readers_for(scope) if small else []
            question = _Question(scope, readers, state.documents, state.tokens / state.documents, limit)
            bound = max(SCORED, state.documents // SCORED_SHARE)
            counts = await self._frequencies.counted(session, words)
            telling = _telling(counts, bound, members / state.documents if small else 1.0)
            bound = max(bound, limit)
            hits = await _scored(session, question, telling, bound)
            if len(hits) < min(limit, ENOUGH) and len(telling) < len(words):
                scores = {hit.document: hit.score for hit in await _scored(session, question, counts, bound)}
                scores = {hit.document: hit.score for hit in hits} | scores
                hits = [Hit(*each) for each in sorted(scores.items(), key=lambda item: (-item[1], -item[0]))[:limit]]
        return hits


def _telling(counts: dict[str, int], bound: int, share: float) -> dict[str, int]:
    """Return the rarest terms, as many as can be scored in time where a share of their matches is."""
    telling: dict[str, int] = {}
    scored = 0.0
    for word in sorted(counts, key=counts.__getitem__):
        scored += counts[word] * min(share + PASSED, 1.0)
        if scored > bound and len(telling) >= KEPT_TERMS:
            break
        telling[word] = counts[word]
    return telling


async def _scored(session: Session, question: _Question, counts: dict[str, int], bound: int) -> list[Hit]:
    part = inside(question.scope)
    members = " ".join(_MEMBERS.format(place=place) for place in range(len(question.readers)))
    if question.scope.filter.session_id is not None:
        members += _SESSION
    values = {
        **part.values,
        **{f"readers_{place}": words for place, words in enumerate(question.readers)},
        "words": list(counts),
        "idfs": [_idf(question.documents, count) for count in counts.values()],
        "average": question.average,
        "bound": bound,
        "limit": question.limit,
    }
    allowed = ONE_MEMORY.format(document="s.document", inside=part.sql)
    rows = await session.rows(_SEARCH.format(members=members, allowed=allowed), values)
    return [Hit(document, score) for document, score in rows]


def _idf(documents: int, count: int) -> float:
    return max(math.log((max(documents - count, 0) + 0.5) / (count + 0.5)), LEAST_IDF)
