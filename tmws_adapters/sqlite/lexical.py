"""Lexical search with FTS5."""

import sqlite3
from collections.abc import Sequence

import attrs
import orjson

from tmws_adapters.sqlite.connections import ReaderPool
from tmws_adapters.sqlite.readers import words_for
from tmws_adapters.sqlite.scopes import Members, Scopes
from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit

WEIGHTS = "3.0, 1.0, 0.5, 0.0"
"""What a word counts in a memory's own text, in the turn before it, in the one before that, and among its readers."""

TEXTS = "{text previous before_previous}"
"""The columns that the words of a query are looked for in."""

SCORED = 1000
"""Matches that one search may score: about 0.7 us each. With 500 recall@10 on LoCoMo drops from .806 to .800."""

SCORED_SHARE = 50
"""In a large store a search may score one in this many documents instead, so that its terms stay many enough."""

PASSED = 0.1
"""What a match costs that is passed over because its readers are others, in times of one that is scored."""

SMALL_SHARE = 5
"""A scope that holds less than one in this many documents is searched by its readers as well, so that fewer matches
are scored: 20,000 memories of 200 agents, one agent's: 0.6 ms, and 4.3 ms by the terms alone."""

ENOUGH = 20
"""Hits with which a search does without its very frequent terms; two pages."""

KEPT_TERMS = 1
"""Terms that are kept however frequent they are."""

GENERATION = 1000
"""New documents after which the frequencies of terms are counted again; they bound a cost only."""

COUNTED_TERMS, COUNTED_LENGTH = 10_000, 64
"""Terms whose frequency is remembered, and the longest of them: about 1 MB."""

UNIT = 1e-12
"""Scores come as whole numbers of it; those of the most frequent words are about 1e-6."""

_COUNT = """
    SELECT value, (
        SELECT count(*) FROM (SELECT 1 FROM memories_fts WHERE memories_fts MATCH value LIMIT :bound)
    )
    FROM json_each(:matches)
"""

_SCORE = f"""
    SELECT group_concat(document), group_concat(score) FROM (
        SELECT rowid AS document, CAST(bm25(memories_fts, {WEIGHTS}) / -{UNIT} AS INTEGER) AS score
        FROM memories_fts WHERE memories_fts MATCH :match ORDER BY rowid DESC LIMIT :bound
    )
"""  # noqa: S608 - texts are constants, values are bound
"""One row instead of one for each match: each row would take the interpreter's lock."""


@attrs.define(eq=False)
class SqliteLexical:
    """A LexicalIndex over memories_fts."""

    _readers: ReaderPool
    _scopes: Scopes
    _generation: int = attrs.field(default=-1, init=False)
    _documents: int = attrs.field(default=0, init=False)
    _frequencies: dict[str, int] = attrs.field(factory=dict, init=False)

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Of two equally good ones the one with the higher number comes first. Terms so frequent that scoring their
        matches would take long are left out as long as the rarer ones find enough; where they do not, the newest
        matches of all terms are scored as well, as many as time allows.
        """
        if not terms:
            return []

        def work(connection: sqlite3.Connection) -> list[Hit]:
            members = self._scopes.members(connection, scope)
            if not members.count:
                return []
            self._forget_old_frequencies(members.last)
            share = members.count / self._documents
            readers = words_for(scope) if share < 1 / SMALL_SHARE else []
            bound = max(SCORED, self._documents // SCORED_SHARE)
            telling = self._telling(connection, terms, bound, share if readers else 1.0)
            bound = max(bound, limit)
            scores = _scores(connection, members, _match(telling, readers), bound)
            if len(scores) < min(limit, ENOUGH) and len(telling) < len(terms):
                more = _scores(connection, members, _match(terms, readers), bound)
                scores = dict(sorted((scores | more).items(), reverse=True))
            return _best(scores, limit)

        async with self._readers.session() as session:
            return await session.run(work)

    def _forget_old_frequencies(self, documents: int) -> None:
        self._documents = documents
        if self._documents // GENERATION != self._generation or len(self._frequencies) > COUNTED_TERMS:
            self._generation, self._frequencies = self._documents // GENERATION, {}

    def _telling(self, connection: sqlite3.Connection, terms: Sequence[str], bound: int, share: float) -> list[str]:
        """Return the rarest terms, as many as can be scored in time where a share of their matches is."""
        frequencies = self._counted(connection, terms)
        telling: list[str] = []
        scored = 0.0
        for term in sorted(terms, key=frequencies.__getitem__):
            scored += frequencies[term] * min(share + PASSED, 1.0)
            if scored > bound and len(telling) >= KEPT_TERMS:
                break
            telling.append(term)
        return telling

    def _counted(self, connection: sqlite3.Connection, terms: Sequence[str]) -> dict[str, int]:
        """Count the documents that match each term, up to a bound above which it is frequent anyway."""
        known = self._frequencies
        unknown = {_match([term]): term for term in terms if term not in known}
        if unknown:
            bound = max(SCORED, self._documents // SMALL_SHARE) + 1
            values = {"bound": bound, "matches": orjson.dumps([*unknown]).decode()}
            counted = {unknown[match]: count for match, count in connection.execute(_COUNT, values)}
            known.update((term, count) for term, count in counted.items() if len(term) <= COUNTED_LENGTH)
            return {term: known.get(term, counted.get(term, 0)) for term in terms}
        return {term: known[term] for term in terms}


def _scores(connection: sqlite3.Connection, members: Members, match: str, bound: int) -> dict[int, int]:
    """Return the scores, in UNITs, of those members that are among the `bound` newest matches, newest first."""
    documents, scores = connection.execute(_SCORE, {"match": match, "bound": bound}).fetchone()
    found = zip(orjson.loads(f"[{documents or ''}]"), orjson.loads(f"[{scores or ''}]"), strict=True)
    marks = members.marks
    return {document: score for document, score in found if marks[document]}


def _best(scores: dict[int, int], limit: int) -> list[Hit]:
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:limit]
    return [Hit(document, scores[document] * UNIT) for document in best]


def _match(terms: Sequence[str], readers: Sequence[Sequence[str]] = ()) -> str:
    """Return the FTS5 expression for any of the terms in the texts, and for one word of each list of readers."""
    parts = [f"{TEXTS} : ({_any_of(terms)})", *(f"readers : ({_any_of(words)})" for words in readers)]
    return " AND ".join(parts)


def _any_of(terms: Sequence[str]) -> str:
    quoted = (term.replace('"', '""') for term in terms)
    return " OR ".join(f'"{term}"' for term in quoted)
