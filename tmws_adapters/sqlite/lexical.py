"""Lexical search with FTS5."""

import sqlite3
from collections.abc import Sequence

import attrs

from tmws_adapters.sqlite.connections import ReaderPool
from tmws_adapters.sqlite.predicate import inside
from tmws_adapters.sqlite.readers import words_for
from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit

WEIGHTS = "3.0, 1.0, 0.5, 0.0"
"""What a word counts in a memory's own text, in the turn before it, in the one before that, and among its readers."""

TEXTS = "{text previous before_previous}"
"""The columns that the words of a query are looked for in."""

SCORED = 1000
"""Matches that one search may score: about 1 us each. With 500 recall@10 on LoCoMo drops from .806 to .800."""

SCORED_SHARE = 50
"""In a large store a search may score one in this many documents instead, so that its terms stay many enough."""

SMALL_SHARE = 5
"""A scope that holds less than one in this many documents is searched by its readers as well, so that fewer matches
are scored: 20,000 memories of 200 agents, one agent's: 0.6 ms, and 4.3 ms by the terms alone."""

ENOUGH = 20
"""Hits with which a search does without its very frequent terms; two pages."""

KEPT_TERMS = 1
"""Terms that are kept however frequent they are."""

GENERATION = 1000
"""New documents after which the frequencies of terms are counted again; they bound a cost only."""

COUNTED_TERMS = 10_000
"""Terms whose frequency is remembered: about 1 MB."""


@attrs.define(eq=False)
class SqliteLexical:
    """A LexicalIndex over memories_fts."""

    _readers: ReaderPool
    _generation: int = attrs.field(default=-1, init=False)
    _documents: int = attrs.field(default=0, init=False)
    _frequencies: dict[str, int] = attrs.field(factory=dict, init=False)

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Of two equally good ones the one with the higher number comes first. Terms so frequent that scoring their
        matches would take long are left out as long as the rarer ones fill the limit.

        The scope is a join inside the query. Fetching FTS5's own order and filtering it afterwards, widening until
        the limit is filled, is never faster: 100,000 memories, 60,000 matches, 73 and 80 ms if all of them are
        visible, 30 and 148 ms if one in ten is.
        """
        if not terms:
            return []

        def work(connection: sqlite3.Connection) -> list[Hit]:
            self._forget_old_frequencies(connection)
            readers = words_for(scope)
            share = self._share(connection, readers)
            if share > 1 / SMALL_SHARE:
                readers, share = [], 1.0
            telling = self._telling(connection, terms, share)
            hits = _search(connection, scope, _match(telling, readers), limit)
            if len(hits) < min(limit, ENOUGH) and len(telling) < len(terms):
                return _search(connection, scope, _match(terms, readers), limit)
            return hits

        async with self._readers.session() as session:
            return await session.run(work)

    def _forget_old_frequencies(self, connection: sqlite3.Connection) -> None:
        (self._documents,) = connection.execute("SELECT last FROM document_numbers").fetchone()
        if self._documents // GENERATION != self._generation or len(self._frequencies) > COUNTED_TERMS:
            self._generation, self._frequencies = self._documents // GENERATION, {}

    def _share(self, connection: sqlite3.Connection, readers: Sequence[Sequence[str]]) -> float:
        """Estimate which share of the documents a scope holds, from its readers."""
        held = (sum(self._frequency(connection, f'readers : "{word}"') for word in words) for words in readers)
        return min((count / max(self._documents, 1) for count in held), default=1.0)

    def _telling(self, connection: sqlite3.Connection, terms: Sequence[str], share: float) -> list[str]:
        """Return the rarest terms, as many as can be scored in time where a share of their matches is."""
        bound = max(SCORED, self._documents // SCORED_SHARE)
        frequencies = {term: self._frequency(connection, _match([term])) for term in terms}
        telling: list[str] = []
        matches = 0.0
        for term in sorted(terms, key=frequencies.__getitem__):
            matches += frequencies[term] * share
            if matches > bound and len(telling) >= KEPT_TERMS:
                break
            telling.append(term)
        return telling

    def _frequency(self, connection: sqlite3.Connection, match: str) -> int:
        """Count the documents that match, up to a bound above which a word is frequent, and a scope large, anyway."""
        bound = max(SCORED, self._documents // SMALL_SHARE) + 1
        sql = "SELECT count(*) FROM (SELECT 1 FROM memories_fts WHERE memories_fts MATCH ? LIMIT ?)"
        frequencies = self._frequencies
        if match not in frequencies:
            (frequencies[match],) = connection.execute(sql, (match, bound)).fetchone()
        return frequencies[match]


def _search(connection: sqlite3.Connection, scope: Scope, match: str, limit: int) -> list[Hit]:
    part = inside(scope)
    sql = f"""
        SELECT m.document, -bm25(memories_fts, {WEIGHTS}) AS score
        FROM memories_fts CROSS JOIN memories_v2 AS m ON m.document = memories_fts.rowid
        WHERE memories_fts MATCH :match AND {part.sql} ORDER BY score DESC, m.document DESC LIMIT :limit
    """  # noqa: S608 - texts are constants, values are bound
    values = {**part.values, "match": match, "limit": limit}
    return [Hit(document, score) for document, score in connection.execute(sql, values)]


def _match(terms: Sequence[str], readers: Sequence[Sequence[str]] = ()) -> str:
    """Return the FTS5 expression for any of the terms in the texts, and for one word of each list of readers."""
    parts = [f"{TEXTS} : ({_any_of(terms)})", *(f"readers : ({_any_of(words)})" for words in readers)]
    return " AND ".join(parts)


def _any_of(terms: Sequence[str]) -> str:
    quoted = (term.replace('"', '""') for term in terms)
    return " OR ".join(f'"{term}"' for term in quoted)
