"""Lexical search: BM25 over a table of postings."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from tmws_adapters.postgres.connections import Reading
from tmws_adapters.postgres.frequencies import LARGE, Frequencies, State
from tmws_adapters.postgres.predicate import ONE_MEMORY, inside
from tmws_adapters.postgres.readers import audience_for
from tmws_adapters.postgres.scopes import Held
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

SCORED_SHARE, MOST_SCORED = 50, 10_000
"""In a large store a search may score one in this many documents instead, so that its terms stay many enough; but no
more than 15 ms allow."""

PASSED = 0.1
"""What a match costs that is passed over because it lies outside of the scope, in times of one that is scored."""

LOOKED_UP = 2.5
"""What looking one member of a scope up under a word costs, in the same times."""

REACHED = 10_000
"""The newest matches of a term that are held against the members of a scope, at most: 1 ms."""

SESSION = 1000
"""Members of a session, as a guess: it is short as a rule."""

SMALL_SHARE = 20
"""Of a scope that holds less than one in this many documents, the members are looked up first."""

SMALL = 100_000
"""Members that are looked up at most: 10 ms."""

SPARE = 1.5
"""Times as many of the best are fetched as a scope of this share should need, where somebody remembers what it holds:
ten thousand take 20 ms to read."""

SENT = 2000
"""Members of a scope that are sent along at most, where somebody remembers them: 0.4 ms."""

LONGEST_TERM = 4096
"""Characters of a term that are looked at: it is one word, of which far fewer are kept."""

ENOUGH = 20
"""Hits with which a search does without its very frequent terms; two pages."""

KEPT_TERMS = 1
"""Terms that are kept however frequent they are."""

Holding = Callable[[Scope], Awaitable[Held | None]]
"""Tells what is remembered of a scope."""

_OF_READERS = "SELECT document FROM memory_postings WHERE word = ANY(%(readers)s::text[])"

_OF_SESSION = "SELECT unnest(ARRAY(SELECT document FROM memories_v2 WHERE session_id = %(session_id)s))"

_HELD = "SELECT unnest(%(held)s::bigint[])"

_MATCHES = """
    SELECT q.idf, p.document, p.frequency, p.tokens
    FROM unnest(%({kind}_words)s::text[], %({kind}_idfs)s::float8[]) AS q (word, idf) CROSS JOIN LATERAL (
        SELECT document, frequency, tokens FROM memory_postings AS p
        WHERE p.word = q.word {looked_up} ORDER BY p.document DESC LIMIT %(reach)s
    ) AS p {joined}
"""

_SCORES = f"""
    SELECT p.document, sum(
        p.idf * p.frequency * {K1 + 1} / (p.frequency + {2 * K1} * ({1 - B} + {B} * p.tokens / %(average)s))
    ) AS score
    FROM ({{matches}}) AS p GROUP BY p.document ORDER BY score DESC, p.document DESC LIMIT %(bound)s
"""  # noqa: S608 - numbers are constants, values are bound
"""The newest matches of each word are scored, frequencies being halves."""

_BEST_ALLOWED = """
    WITH scores AS MATERIALIZED ({scores})
    SELECT s.document, s.score
    FROM (SELECT document, score FROM scores ORDER BY score DESC, document DESC) AS s CROSS JOIN LATERAL (
        {allowed}
    ) AS allowed
    LIMIT %(limit)s
"""
"""The best are held against the scope one by one: 4 µs each, which is most of what such a search takes."""


@attrs.frozen
class _Question:
    """What a search asks for, and what it needs to know of the store and of the scope.

    The scope has `members` at most; where looking at them first saves work, `inside` is the subquery that tells them,
    or more than them: those with one of the words `readers`. What is remembered of a scope is `held`.
    """

    scope: Scope
    state: State
    members: int
    readers: list[str]
    inside: str
    limit: int
    held: Held | None = None

    @classmethod
    def of(cls, scope: Scope, state: State, narrowest: tuple[int, list[str]], limit: int) -> "_Question":
        members, readers = narrowest
        inside = _OF_READERS
        if scope.filter.session_id is not None and members > SESSION:
            members, inside = SESSION, _OF_SESSION
        small = members < min(state.documents / SMALL_SHARE, SMALL)
        return cls(scope, state, members, readers, inside if small else "", limit)

    def knowing(self, held: Held) -> "_Question":
        """Return the question about a scope that is remembered."""
        few = held.count <= SENT
        return attrs.evolve(self, held=held, members=held.count, inside=_HELD if few else "")

    @property
    def share(self) -> float:
        """Return how much of the store the scope holds at most."""
        return self.members / self.state.documents

    def cost(self, count: int) -> float:
        """Return what a word that so many documents have costs, in times of a match that is scored."""
        if not self.inside:
            return count
        return count * self.share + min(count * PASSED, self.members * LOOKED_UP)

    def scans(self, count: int) -> bool:
        """Tell whether reading all matches of a word costs less than looking each member up."""
        return not self.inside or count * PASSED <= self.members * LOOKED_UP


@attrs.frozen(eq=False)
class PostgresLexical:
    """A LexicalIndex over memory_postings.

    `held` tells what a scope holds, if somebody remembers it; then nothing has to be held against the scope any more.
    """

    _connections: Reading
    _frequencies: Frequencies
    held: Holding | None = None

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Of two equally good ones the one with the higher number comes first. Terms so frequent that scoring their
        matches would take long are left out as long as the rarer ones find enough; where they do not, the newest
        matches of all terms are scored as well, as many as time allows.
        """
        words = stems(term[:LONGEST_TERM] for term in terms)
        if not words:
            return []
        async with self._connections.lookup() as session:
            state = await self._frequencies.state(session)
            if not state.documents:
                return []
            question = _Question.of(scope, state, await self._frequencies.narrowest(session, scope), limit)
            counts = await self._frequencies.counted(session, words)
        if self.held is not None and (not question.inside or scope.filter.session_id is not None):
            held = await self.held(scope)
            question = question if held is None else question.knowing(held)
        bound = max(SCORED, min(state.documents // SCORED_SHARE, MOST_SCORED))
        telling = _telling(counts, bound, question.cost)
        if state.documents > LARGE and sum(telling.values()) * question.share < ENOUGH:
            # What is remembered of a small store's words may be far from what it is now.
            telling = counts
        async with self._connections.lookup() as session:
            hits = await _scored(session, question, telling, max(bound, limit))
        if len(hits) < min(limit, ENOUGH) and len(telling) < len(counts):
            async with self._connections.lookup() as session:
                more = await _scored(session, question, counts, max(bound, limit))
            scores = {hit.document: hit.score for hit in more} | {hit.document: hit.score for hit in hits}
            hits = [Hit(*each) for each in sorted(scores.items(), key=lambda item: (-item[1], -item[0]))[:limit]]
        return hits


def _telling(counts: dict[str, int], bound: int, cost: Callable[[int], float]) -> dict[str, int]:
    """Return the rarest terms, as many as can be scored in time."""
    telling: dict[str, int] = {}
    scored = 0.0
    for word in sorted(counts, key=counts.__getitem__):
        scored += cost(counts[word])
        if scored > bound and len(telling) >= KEPT_TERMS:
            break
        telling[word] = counts[word]
    return telling


async def _scored(session: Session, question: _Question, counts: dict[str, int], bound: int) -> list[Hit]:
    matches, values = _matches(question, counts)
    scores = _SCORES.format(matches=matches)
    values |= {
        "average": question.state.tokens / question.state.documents,
        "reach": max(REACHED, bound) if question.inside else bound,
        "bound": bound,
    }
    if question.held is not None:
        return await _chosen(session, question, question.held, scores, values)
    session.see(audience_for(question.scope.visibility))
    part = inside(question.scope)
    allowed = ONE_MEMORY.format(document="s.document", inside=part.sql)
    values |= {**part.values, "limit": question.limit}
    return _ranked(await session.last(_BEST_ALLOWED.format(scores=scores, allowed=allowed), values, binary=True))


def _ranked(rows: Sequence[tuple[int, float]]) -> list[Hit]:
    """Return the hits, best first.

    Equal scores are summed up in another order by another plan, and must not differ by it: pages of one search fit
    together.
    """
    hits = [Hit(document, round(score, 12)) for document, score in rows]
    return sorted(hits, key=lambda hit: (-hit.score, -hit.document))


async def _chosen(session: Session, question: _Question, held: Held, sql: str, values: dict[str, Any]) -> list[Hit]:
    """Return the best in a scope that is remembered: of as many as should be enough, or else of all."""
    bound, limit = values["bound"], question.limit
    fetched = min(int(SPARE * limit / max(question.share, SPARE * limit / bound)), bound)
    while True:
        rows = await session.rows(sql, {**values, "bound": fetched}, binary=True)
        hits = held.chosen(_ranked(rows))[:limit]
        if len(hits) == limit or len(rows) < fetched or fetched == bound:
            return hits
        fetched = bound


def _matches(question: _Question, counts: dict[str, int]) -> tuple[str, dict[str, Any]]:
    """Return the query for the matches of the words, and its values."""
    inside = question.inside
    kinds = {
        "scanned": (
            [word for word, count in counts.items() if question.scans(count)],
            "",
            f"WHERE p.document IN ({inside})",
        ),
        # As an array they are looked up under each word; IN would read all entries.
        "sought": (
            [word for word, count in counts.items() if not question.scans(count)],
            f"AND p.document = ANY(ARRAY({inside}))",
            "",
        ),
    }
    values: dict[str, Any] = {}
    parts = []
    for kind, (words, looked_up, joined) in kinds.items():
        if words:
            parts.append(_MATCHES.format(kind=kind, looked_up=looked_up, joined=joined if inside else ""))
            values[f"{kind}_words"] = words
            values[f"{kind}_idfs"] = [_idf(question.state.documents, counts[word]) for word in words]
    if inside == _HELD and question.held is not None:
        values["held"] = [*question.held.documents, *question.held.others]
    elif inside:
        values |= {"readers": question.readers, "session_id": question.scope.filter.session_id}
    return " UNION ALL ".join(f"({part})" for part in parts), values


def _idf(documents: int, count: int) -> float:
    return max(math.log((max(documents - count, 0) + 0.5) / (count + 0.5)), LEAST_IDF)
