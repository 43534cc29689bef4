"""A second look at the best hits, with their contents: small nudges, and repetitions put behind."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from tmws_core.domain.dates import Period, period_in
from tmws_core.domain.dialogue import Question
from tmws_core.domain.exact import ExactStrings
from tmws_core.domain.memory import Memory, Uses
from tmws_core.domain.ranking import Ranked
from tmws_core.domain.sameness import said

HEAD = 50
"""Hits that get the second look; of 100, none moved into the first ten of LoCoMo that did not with 50."""

NAMED_TIME = 0.15
"""For a memory of the time that the query names."""


EXACT = 2.0
"""For a memory with the strings of the query as they stand: more than all else together, so that it comes first."""


@attrs.frozen(kw_only=True)
class Boosts:
    """What recency, importance and use add to a score, at most; 0 turns them off.

    Recency, and the time since the last use, count half every `half_life`. Of what use can add the first one adds a
    half, the second a sixth more, and so on: n uses add n / (n + 1).
    """

    recency: float = 0.0
    half_life: timedelta = timedelta(days=30)
    importance: float = 0.0
    use: float = 0.0

    def of(self, memory: Memory, uses: Uses | None, now: datetime) -> float:
        """Return what to add for a memory."""
        total = self.importance * memory.importance
        if self.recency:
            total += self.recency * self._freshness(memory.occurred_at or memory.created_at, now)
        if uses is not None:
            total += self.use * uses.count / (uses.count + 1) * self._freshness(uses.last, now)
        return total

    def _freshness(self, moment: datetime, now: datetime) -> float:
        """Return 1 for now and less for what is past."""
        freshness: float = 0.5 ** max((now - moment) / self.half_life, 0.0)
        return freshness


@attrs.frozen(kw_only=True)
class SecondLook:
    """What a query asks for beyond its words and its meaning."""

    question: Question
    strings: ExactStrings
    period: Period | None
    boosts: Boosts
    now: datetime

    @classmethod
    def of(cls, query: str, boosts: Boosts, now: datetime) -> "SecondLook":
        """Read a query; `now` is the moment that it asks from."""
        return cls(
            question=Question.of(query),
            strings=ExactStrings.of(query),
            period=period_in(query, now),
            boosts=boosts,
            now=now,
        )

    def holding(self, hits: Sequence[Ranked], memories: Mapping[int, Memory]) -> list[Ranked]:
        """Return those of the hits whose memories have strings of the query as they stand."""
        present = (hit for hit in hits if hit.document in memories)
        return [hit for hit in present if self.strings.share(memories[hit.document].content)]

    def order(
        self,
        ranked: Sequence[Ranked],
        memories: Mapping[int, Memory],
        uses: Mapping[int, Uses],
        wanted: int = HEAD,
    ) -> list[Ranked]:
        """Return the hits with their scores nudged, best first.

        Of the first `wanted` none repeats another's text: repetitions stand behind the rest. Hits without a memory are
        left out. Scores stay in [0, 1].
        """
        nudged = [
            self._nudged(hit, memories[hit.document], uses.get(hit.document))
            for hit in ranked
            if hit.document in memories
        ]
        nudged.sort(key=lambda hit: (-hit.score, -hit.document))
        return [
            hit if 0 <= hit.score <= 1 else hit._replace(score=min(max(hit.score, 0.0), 1.0))
            for hit in _repetitions_last(nudged, memories, wanted)
        ]

    def _nudged(self, hit: Ranked, memory: Memory, uses: Uses | None) -> Ranked:
        """Return a hit with what its text adds to its score, which may leave [0, 1] by that."""
        exact = self.strings.share(memory.content) if self.strings else None
        nudge = self._nudge(memory, uses) + EXACT * (exact or 0.0)
        if not nudge and exact is None:
            return hit
        return hit._replace(score=hit.score + nudge, nudge=nudge, exact=exact)

    def _nudge(self, memory: Memory, uses: Uses | None) -> float:
        total = self.question.nudge(memory.content) + self.boosts.of(memory, uses, self.now)
        if self.period is not None and self.period.holds(memory.occurred_at or memory.created_at):
            total += NAMED_TIME
        return total


def _repetitions_last(ranked: Sequence[Ranked], memories: Mapping[int, Memory], wanted: int) -> list[Ranked]:
    """Return the hits with those behind that say the same as one of the first."""
    kept: list[Ranked] = []
    repetitions: list[Ranked] = []
    told: set[str] = set()
    for place, hit in enumerate(ranked):
        if len(kept) >= wanted:
            return [*kept, *ranked[place:], *repetitions]
        text = said(memories[hit.document].content)
        if text in told:
            repetitions.append(hit)
        else:
            kept.append(hit)
            told.add(text)
    return [*kept, *repetitions]
