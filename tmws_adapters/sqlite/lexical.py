"""Lexical search with FTS5."""

import sqlite3
from collections.abc import Mapping, Sequence

import attrs

from tmws_adapters.sql.bm25 import most
from tmws_adapters.sqlite.connections import ReaderPool
from tmws_adapters.sqlite.matches import Matches
from tmws_adapters.sqlite.readers import words_for
from tmws_adapters.sqlite.scopes import Scopes
from tmws_adapters.sqlite.tokens import Tokens
from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit

SCORED = 1000
"""Matches that one search may score: about 0.7 us each. With 500 recall@10 on LoCoMo drops from .806 to .800."""

SCORED_SHARE = 50
"""In a large store a search may score one in this many documents instead, so that its terms stay many enough."""

SMALL_SHARE = 5
"""A scope that holds less than one in this many documents is searched by its readers as well, so that fewer matches
are scored: 20,000 memories of 200 agents, one agent's: 0.6 ms, and 4.3 ms by the terms alone."""

ENOUGH = 20
"""Hits with which a search does without its very frequent terms; two pages."""

KEPT_TERMS = 1
"""Terms that are kept however frequent they are."""


@attrs.frozen(eq=False)
class SqliteLexical:
    """A LexicalIndex over memories_fts."""

    _readers: ReaderPool
    _scopes: Scopes
    _tokens: Tokens

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Words are weighed by the scope's members, and nothing else has a part in it. Of two equally good ones the one
        with the higher number comes first. Terms so frequent that scoring their matches would take long are left out as
        long as the rarer ones find enough; where they do not, the newest matches of all terms are scored as well, as
        many as time allows.
        """
        if not terms:
            return []

        def work(connection: sqlite3.Connection) -> list[Hit]:
            members = self._scopes.members(connection, scope)
            if not members.count:
                return []
            # This decides how long a search takes, and not what it finds.
            narrow = members.count * SMALL_SHARE < members.last
            tokens = self._tokens.of(connection, terms)
            return _search(Matches(connection, members, tokens, words_for(scope) if narrow else ()), terms, limit)

        async with self._readers.session() as session:
            return await session.run(work)


def _search(matches: Matches, terms: Sequence[str], limit: int) -> list[Hit]:
    bound = max(SCORED, matches.members.count // SCORED_SHARE)
    every = {term: matches.count(term) for term in terms}
    counts = {term: count for term, count in every.items() if count}
    telling = _telling(counts, bound)
    bound = max(bound, limit)
    scores = _scores(matches, telling, counts, bound)
    if len(scores) < min(limit, ENOUGH) and len(telling) < len(counts):
        scores |= _scores(matches, [*counts], counts, bound)
    # Numbers are sorted in half the time of pairs.
    least = sorted(scores.values())[-limit] if len(scores) > limit else 0.0
    best = sorted([(score, document) for document, score in scores.items() if score >= least], reverse=True)[:limit]
    unit = 1 / most(matches.members.count, every.values())
    return [Hit(document, score * unit) for score, document in best]


def _telling(counts: Mapping[str, float], bound: int) -> list[str]:
    """Return the rarest terms, as many as can be scored in time."""
    telling: list[str] = []
    scored = 0.0
    for term in sorted(counts, key=lambda term: (counts[term], term)):
        scored += counts[term]
        if scored > bound and len(telling) >= KEPT_TERMS:
            break
        telling.append(term)
    return telling


def _scores(matches: Matches, terms: Sequence[str], counts: Mapping[str, float], bound: int) -> dict[int, float]:
    """Return the scores of the members that are among the `bound` newest matches of the terms."""
    lowest = 0
    if sum(counts[term] for term in terms) > bound:
        lowest = matches.newest(terms, bound)[-1]
    return matches.scores({term: counts[term] for term in terms}, lowest)
