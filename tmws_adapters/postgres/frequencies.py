"""How frequent words and readers are, remembered: it decides how a search goes about, not what it finds."""

import time

import attrs

from tmws_adapters.postgres.readers import readers_for
from tmws_adapters.postgres.session import Session
from tmws_core.domain.access import Scope

GENERATION = 1000
"""New documents after which frequencies are counted again."""

COUNTED = 10_000
"""Words whose frequency is remembered: about 1 MB."""

LEAST_BOUND = 25_000
"""Up to here frequencies are counted however small the store is."""

SHARE = 5
"""Beyond one in this many documents a word is frequent, and counted no further: its weight is next to none."""

FRESH = 1.0
"""Seconds for which the number of documents is remembered where it is beyond LEAST_BOUND: it hardly changes then."""

_COUNT = """
    SELECT wanted, (
        SELECT count(*) FROM (SELECT 1 FROM memory_postings AS p WHERE p.word = wanted LIMIT %(bound)s) AS counted
    )
    FROM unnest(%(words)s::text[]) AS wanted
"""

_STATE = "SELECT sum(documents)::bigint, sum(tokens)::bigint FROM memory_changes"


@attrs.frozen
class State:
    """How many documents the index holds, and how many words they have together."""

    documents: int
    tokens: int


@attrs.define(eq=False)
class Frequencies:
    """Counts over memory_postings, counted again after GENERATION new documents."""

    _generation: int = attrs.field(default=-1, init=False)
    _state: State = attrs.field(default=State(0, 0), init=False)
    _asked: float = attrs.field(default=0.0, init=False)
    _known: dict[str, int] = attrs.field(factory=dict, init=False)

    async def state(self, session: Session) -> State:
        """Return what the index holds now, or held a moment ago."""
        if self._state.documents > LEAST_BOUND and time.monotonic() - self._asked < FRESH:
            return self._state
        ((documents, tokens),) = await session.rows(_STATE)
        generation = documents // GENERATION
        if generation != self._generation or len(self._known) > COUNTED:
            self._generation, self._known = generation, {}
        self._state, self._asked = State(documents, tokens), time.monotonic()
        return self._state

    async def counted(self, session: Session, words: list[str]) -> dict[str, int]:
        """Return the number of documents that have each word, up to a bound above which it is frequent anyway."""
        known = self._known
        unknown = [word for word in words if word not in known]
        if unknown:
            bound = max(LEAST_BOUND, self._state.documents // SHARE) + 1
            known.update(await session.rows(_COUNT, {"words": unknown, "bound": bound}))
        return {word: known.get(word, 0) for word in words}

    async def members(self, session: Session, scope: Scope) -> int:
        """Return how many documents a scope holds at most, as far as its readers tell."""
        wanted = readers_for(scope)
        counts = await self.counted(session, [word for words in wanted for word in words]) if wanted else {}
        return min([self._state.documents, *(sum(counts[word] for word in words) for words in wanted)])
