"""The search: request and answer."""

import enum
from datetime import datetime

import attrs

from tmws_core.domain.constraints import Aware, Range, Text
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.domain.relevance import Relevance
from tmws_core.messages.memory import CURSOR, MOST, PAGE, ROOM, Filters, MemoryBrief
from tmws_core.operation import Request


class SearchMode(enum.Enum):
    """By meaning, by words, or by both."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    LEXICAL = "lexical"


@attrs.frozen(kw_only=True)
class Explanation:
    """Where a hit's score came from: its place, counted from 1, and its score in each list that holds it.

    `nudge` is what was added for its form, its time, its recency and its importance.
    """

    lexical_rank: int | None
    lexical_score: float | None
    semantic_rank: int | None
    similarity: float | None
    nudge: float


@attrs.frozen(kw_only=True)
class MemoryHit(MemoryBrief):
    """A memory with its place in the answer; of one that is cut, `content` is what is around the words of the query.

    `score` lies in [0, 1] and compares hits of one answer only; `relevance` says whether it is an answer at all. With
    `details` or `explain`, `similarity` is the cosine to the query, and `allowed_by` says why the caller sees the
    memory.
    """

    score: float
    relevance: Relevance
    similarity: float | None = None
    lexical_rank: int | None = None
    allowed_by: str | None = None
    explanation: Explanation | None = None


@attrs.frozen(kw_only=True)
class MemoriesFound:
    """The best hits, best first. `degraded` says what was missing while searching, and why.

    `nothing_relevant` is true if all hits up to the end of this page are weak, or there are none.
    """

    success: bool = True
    nothing_relevant: bool
    results: tuple[MemoryHit, ...]
    search_source: str
    latency_ms: float
    next_cursor: str | None = None
    degraded: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class SearchMemories(Filters, Request[MemoriesFound]):
    """What to search for, and where."""

    query: str = attrs.field(validator=Text(minimum=1, maximum_bytes=CONTENT_BYTES))
    limit: int = attrs.field(default=10, validator=Range(1, PAGE))
    cursor: str | None = attrs.field(default=None, validator=CURSOR)
    mode: SearchMode = SearchMode.HYBRID
    min_similarity: float | None = attrs.field(default=None, validator=Range(-1, 1))
    as_of: datetime | None = attrs.field(default=None, validator=Aware())
    max_chars: int = attrs.field(default=ROOM, validator=MOST)
    details: bool = False
    explain: bool = False

    @property
    def tells_figures(self) -> bool:
        """Whether a hit is told with how it was found."""
        return self.details or self.explain
