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

EXACT = 1000
"""Up to here frequencies are counted. What is beyond is estimated by where its first and its last EXACT documents lie,
which is wrong by 2 % where a word is spread evenly. Counting all took 76 ms for the six words of a search in a million
memories; numbers of 50 samples all over the store, 28; this takes 4."""

LARGE, FRESH = 25_000, 1.0
"""Documents beyond which their number is remembered, and for how many seconds: it hardly changes then."""

_COUNT = """
    SELECT wanted, CASE WHEN newest.count < %(exact)s THEN newest.count ELSE greatest(newest.count, (
        SELECT 2 * %(exact)s * numbers.last / (numbers.last - newest.lowest + max(document))
        FROM (SELECT document FROM memory_postings WHERE word = wanted ORDER BY document LIMIT %(exact)s) AS oldest
    )) END
    FROM unnest(%(words)s::text[]) AS wanted CROSS JOIN (SELECT last_value AS last FROM documents) AS numbers
    CROSS JOIN LATERAL (
        SELECT count(*), min(document) AS lowest FROM (
            SELECT document FROM memory_postings WHERE word = wanted ORDER BY document DESC LIMIT %(exact)s
        ) AS counted
    ) AS newest
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
        if self._state.documents > LARGE and time.monotonic() - self._asked < FRESH:
            return self._state
        ((documents, tokens),) = await session.rows(_STATE)
        generation = documents // GENERATION
        if generation != self._generation or len(self._known) > COUNTED:
            self._generation, self._known = generation, {}
        self._state, self._asked = State(documents, tokens), time.monotonic()
        return self._state

    async def counted(self, session: Session, words: list[str]) -> dict[str, int]:
        """Return the number of documents that have each word; beyond EXACT about that number."""
        known = self._known
        unknown = [word for word in words if word not in known]
        if unknown:
            known.update(await session.rows(_COUNT, {"words": unknown, "exact": EXACT}))
        return {word: known.get(word, 0) for word in words}

    async def members(self, session: Session, scope: Scope) -> int:
        """Return about how many documents a scope holds at most, as far as its readers tell."""
        return (await self.narrowest(session, scope))[0]

    async def narrowest(self, session: Session, scope: Scope) -> tuple[int, list[str]]:
        """Return the same, and the words of which the fewest documents have one; none if every document may be."""
        wanted = readers_for(scope)
        counts = await self.counted(session, [word for words in wanted for word in words]) if wanted else {}
        found = [(sum(counts[word] for word in words), words) for words in wanted]
        members, words = min(found, default=(self._state.documents, []))
        return min(members, self._state.documents), words
