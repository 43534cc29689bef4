"""Lexical search: BM25 over a table of postings."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from tmws_adapters.postgres.connections import Reading
from tmws_adapters.postgres.frequencies import Frequencies
from tmws_adapters.postgres.predicate import ONE_MEMORY, inside
from tmws_adapters.postgres.readers import audience_for
from tmws_adapters.postgres.samples import Sample, Samples
from tmws_adapters.postgres.scopes import Held
from tmws_adapters.postgres.session import Session
from tmws_adapters.postgres.words import stems
from tmws_adapters.sql.bm25 import K1, B, idf, most
from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit

SCORED = 1000
"""Matches that one search may score. With 500 recall@10 on LoCoMo drops from .806 to .800."""

KNOWN_SHARE = 0.05
"""The share of a scope's members that the terms of a search may have together, where it holds more than a sample."""

LISTED = 4000
"""The newest members with a word that are scored at most: 6 ms. Where more memories of the store have it each is held
against the scope first, which took 50 ms on a busy machine."""

PASSED = 0.1
"""What a match costs that is passed over because it lies outside of the scope, in times of one that is scored."""

LOOKED_UP = 2.5
"""What looking one member of a scope up under a word costs, in the same times."""

LISTED_INSIDE = 1_000_000
"""The same where only those are kept that may lie in the scope."""

FEWEST_SHARE = 0.02
"""The share of the store that a scope has at least as far as it decides how many of the best are fetched."""

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

UNIT = 1e-12
"""What each word adds to a score is a whole number of it: sums of these are exact in whatever order the server comes
upon the words, so that equal scores are equal, pages fit together, and nothing tells what else there is."""

Holding = Callable[[Scope], Awaitable[Held | None]]
"""Tells what is remembered of a scope."""

_OF_READERS = "SELECT document FROM memory_postings WHERE word = ANY(%(readers)s::text[])"

_OF_SESSION = "SELECT unnest(ARRAY(SELECT document FROM memories_v2 WHERE session_id = %(session_id)s))"

_GIVEN = "SELECT unnest(%(given)s::bigint[])"

_MATCHES = """
    SELECT q.idf, p.document, p.frequency, p.tokens
    FROM unnest(%({kind}_words)s::text[], %({kind}_idfs)s::float8[]) AS q (word, idf)
        CROSS JOIN LATERAL ({matches}) AS p {joined}
"""

_LISTED = """
    SELECT document, frequency, tokens FROM memory_postings AS p
    WHERE p.word = q.word {looked_up} ORDER BY p.document DESC LIMIT %({listed})s
"""

_SIFTED = """
    SELECT p.document, p.frequency, p.tokens FROM (
        SELECT document, frequency, tokens FROM memory_postings AS p
        WHERE p.word = q.word {looked_up} ORDER BY p.document DESC OFFSET 0
    ) AS p CROSS JOIN LATERAL ({allowed}) AS allowed LIMIT %({listed})s
"""
"""The same of members alone: the newest are held against the scope one by one, until there are enough."""

_BY_KEY = "SET LOCAL enable_bitmapscan = off"
"""Keeps the planner from looking up all that a caller sees for each of them, as it does in a table that has grown since
it was analysed: ten thousand took more than a minute, and half a second so."""

_SCORES = f"""
    SELECT p.document, sum(round(
        p.idf * p.frequency * {K1 + 1} / (p.frequency + {2 * K1} * ({1 - B} + {B} * p.tokens / %(average)s)) / {UNIT}
    )) AS score
    FROM ({{matches}}) AS p GROUP BY p.document ORDER BY score DESC, p.document DESC LIMIT %(fetched)s
"""  # noqa: S608 - numbers are constants, values are bound
"""The matches of each word are scored, frequencies being halves."""

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
    or more than them: those with one of the words `readers`, or those `given`. What is remembered of a scope is `held`.
    All of this decides how long a search takes; what it finds is decided by the scope and its `sample`.
    """

    scope: Scope
    sample: Sample
    documents: int
    members: int
    readers: list[str]
    inside: str
    limit: int
    given: Sequence[int] = ()
    held: Held | None = None

    @classmethod
    def of(
        cls, scope: Scope, sample: Sample, documents: int, narrowest: tuple[int, list[str]], limit: int
    ) -> "_Question":
        members, readers = narrowest
        inside = _OF_READERS
        if scope.filter.session_id is not None and members > SESSION:
            members, inside = SESSION, _OF_SESSION
        small = members < min(documents / SMALL_SHARE, SMALL)
        return cls(scope, sample, documents, members, readers, inside if small else "", limit)

    def knowing(self, held: Held) -> "_Question":
        """Return the question about a scope that is remembered."""
        few = held.count <= SENT
        given = [*held.documents, *held.others] if few else ()
        return attrs.evolve(self, held=held, members=held.count, inside=_GIVEN if few else "", given=given)

    def among_newest(self) -> "_Question":
        """Return the question about the newest members alone."""
        newest = self.sample.documents
        return attrs.evolve(self, members=len(newest), inside=_GIVEN, given=newest)

    @property
    def share(self) -> float:
        """Return how much of the store the scope holds at most."""
        return self.members / self.documents

    def sifts(self, word: str) -> bool:
        """Tell whether the newest matches of a word have to be told apart before they are listed.

        Then it is the members that are listed, however many others have the word.
        """
        # How many members there are is an estimate, and of a session a guess.
        few = self.inside and self.members < LISTED / 2 and self.inside != _OF_SESSION
        return word in self.sample.crowded and not few

    def scans(self, count: int) -> bool:
        """Tell whether reading all matches of a word costs less than looking each member up."""
        return not self.inside or (count < LISTED and count * PASSED <= self.members * LOOKED_UP)


@attrs.frozen(eq=False)
class PostgresLexical:
    """A LexicalIndex over memory_postings.

    `held` tells what a scope holds, if somebody remembers it; then nothing has to be held against the scope any more.
    """

    _connections: Reading
    _frequencies: Frequencies
    held: Holding | None = None
    _samples: Samples = attrs.field(factory=Samples)

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Words are weighed by the newest members of the scope. Of two equally good hits the one with the higher number
        comes first. Terms so frequent that scoring their matches would take long are left out as long as the rarer ones
        find enough; where they do not, all terms are looked for in the newest members.
        """
        words = stems(term[:LONGEST_TERM] for term in terms)
        if not words:
            return []
        async with self._connections.lookup() as session:
            state = await self._frequencies.state(session)
            if not state.documents:
                return []
            sample = await self._samples.of(session, scope, words, limit, LISTED)
            if not sample.documents:
                return []
            narrowest = await self._frequencies.narrowest(session, scope)
            question = _Question.of(scope, sample, state.documents, narrowest, limit)
            counts = await self._frequencies.counted(session, words) if question.inside else dict.fromkeys(words, 0)
        if self.held is not None and (not question.inside or scope.filter.session_id is not None):
            held = await self.held(scope)
            question = question if held is None else question.knowing(held)
        present = [word for word in words if sample.counts[word] or not sample.whole]
        telling = _telling(sample, present)
        unit = 1 / most(len(sample.documents), map(sample.counts.__getitem__, words))
        async with self._connections.lookup() as session:
            hits = await _scored(session, question, {word: counts[word] for word in telling})
        if len(hits) < min(limit, ENOUGH) and len(telling) < len(present):
            async with self._connections.lookup() as session:
                more = await _scored(session, question.among_newest(), dict.fromkeys(present, LISTED))
            scores = {hit.document: hit.score for hit in (*hits, *more)}
            hits = [Hit(*each) for each in sorted(scores.items(), key=lambda item: (-item[1], -item[0]))[:limit]]
        return [Hit(document, score * unit) for document, score in hits]


def _telling(sample: Sample, words: Sequence[str]) -> list[str]:
    """Return the rarest words, as many as can be scored in time."""
    bound = SCORED if sample.whole else KNOWN_SHARE * len(sample.documents)
    telling: list[str] = []
    scored = 0
    for word in sorted(words, key=sample.counts.__getitem__):
        scored += sample.counts[word]
        if scored > bound and len(telling) >= KEPT_TERMS:
            break
        telling.append(word)
    return telling


async def _scored(session: Session, question: _Question, counts: dict[str, int]) -> list[Hit]:
    """Return the best matches of words; `counts` is about how many documents of the store have each."""
    if not counts:
        return []
    matches, values = _matches(question, counts)
    scores = _SCORES.format(matches=matches)
    values |= {"average": question.sample.average, "listed": LISTED, "listed_inside": LISTED_INSIDE, "fetched": None}
    sifting = any(map(question.sifts, counts))
    if question.held is None or sifting:
        session.see(audience_for(question.scope.visibility))
    if sifting:
        session.later(_BY_KEY)
    if question.held is not None:
        return await _chosen(session, question, question.held, scores, values)
    allowed = _allowed(question.scope, "s.document")
    values |= {"limit": question.limit}
    return _ranked(await session.last(_BEST_ALLOWED.format(scores=scores, allowed=allowed), values, binary=True))


def _allowed(scope: Scope, document: str) -> str:
    return ONE_MEMORY.format(document=document, inside=inside(scope).sql)


def _ranked(rows: Sequence[tuple[int, float]]) -> list[Hit]:
    return [Hit(document, score * UNIT) for document, score in rows]


async def _chosen(session: Session, question: _Question, held: Held, sql: str, values: dict[str, Any]) -> list[Hit]:
    """Return the best in a scope that is remembered: of as many as should be enough, or else of all."""
    fetched: int | None = int(SPARE * question.limit / max(question.share, FEWEST_SHARE))
    while True:
        rows = await session.rows(sql, {**values, "fetched": fetched}, binary=True)
        hits = held.chosen(_ranked(rows))[: question.limit]
        if fetched is None or len(hits) == question.limit or len(rows) < fetched:
            return hits
        fetched = None


def _matches(question: _Question, counts: dict[str, int]) -> tuple[str, dict[str, Any]]:
    """Return the query for the matches of the words, and its values."""
    within = question.inside
    # As an array they are looked up under each word; IN would read all entries.
    looked_up = f"AND p.document = ANY(ARRAY({within}))" if within else ""
    sifted = [word for word in counts if question.sifts(word)]
    others = [(word, count) for word, count in counts.items() if word not in sifted]
    kinds = {
        "scanned": (
            [word for word, count in others if question.scans(count)],
            "",
            f"WHERE p.document IN ({within})" if within else "",
        ),
        "sought": ([word for word, count in others if not question.scans(count)], looked_up, ""),
        "sifted": (sifted, looked_up, ""),
    }
    sample = question.sample
    values: dict[str, Any] = inside(question.scope).values if sifted or question.held is None else {}
    parts = []
    for kind, (words, condition, joined) in kinds.items():
        if words:
            matching = _SIFTED if kind == "sifted" else _LISTED
            listed = "listed_inside" if within and kind != "sifted" else "listed"
            allowed = _allowed(question.scope, "p.document")
            matches = matching.format(looked_up=condition, listed=listed, allowed=allowed)
            parts.append(_MATCHES.format(kind=kind, matches=matches, joined=joined))
            values[f"{kind}_words"] = words
            values[f"{kind}_idfs"] = [idf(len(sample.documents), max(sample.counts[word], 1)) for word in words]
    if within == _GIVEN:
        values["given"] = [*question.given]
    elif within:
        values |= {"readers": question.readers, "session_id": question.scope.filter.session_id}
    return " UNION ALL ".join(f"({part})" for part in parts), values
