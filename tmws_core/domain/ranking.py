"""Ranking: how lists of hits become one."""

from collections.abc import Sequence
from typing import NamedTuple

SEMANTIC_WEIGHT = 0.7
"""What the nearest memory in meaning counts beside the best match of words, which counts 1.

LoCoMo and JSQuAD, recall@10: .787 and .990; with half of it .781 and .990, with twice .770 and .985.
"""


class Hit(NamedTuple):
    """A document with the score that one list gave it; higher is better."""

    document: int
    score: float


class Ranked(NamedTuple):
    """A document with its place in the fused list and where that came from; ranks count from 1.

    `nudge` is what the second look added to the score; `exact` is how much of the query's exact strings the text has,
    None where nobody has looked, or the query has none.
    """

    document: int
    score: float
    semantic_rank: int | None = None
    similarity: float | None = None
    lexical_rank: int | None = None
    lexical_score: float | None = None
    nudge: float = 0.0
    exact: float | None = None


def fuse(
    lexical: Sequence[Hit], semantic: Sequence[Hit], familiarity: float = 1.0, limit: int | None = None
) -> list[Ranked]:
    """Merge two lists by their scores, best first, and return the first `limit`; ties go to the later document.

    Ranks would throw away how sure each list is. A lexical score counts as its share of the best one, a similarity as
    its place between the last and the first of its list, times SEMANTIC_WEIGHT and the square of `familiarity`: how
    much of the query the embedding model can read, from 0 to 1. Without any lexical hit, meaning decides alone.
    The sum is divided by the highest that is possible, so it lies in [0, 1].
    """
    weight = SEMANTIC_WEIGHT * familiarity**2 if lexical else 1.0
    highest = (1.0 if lexical else 0.0) + (weight if semantic else 0.0)
    totals: dict[int, float] = {}
    if lexical:
        unit = 1 / (lexical[0].score * highest)
        totals = {document: score * unit for document, score in lexical}
    if semantic:
        low, span = _range(semantic)
        unit = weight / (span * highest)
        for document, score in semantic:
            totals[document] = totals.get(document, 0.0) + (score - low) * unit
    by_words = {hit.document: rank for rank, hit in enumerate(lexical)}
    by_meaning = {hit.document: rank for rank, hit in enumerate(semantic)}
    best = sorted(((total, document) for document, total in totals.items()), reverse=True)[:limit]
    return [
        Ranked(document, total, *_placed(semantic, by_meaning.get(document)), *_placed(lexical, by_words.get(document)))
        for total, document in best
    ]


def _placed(hits: Sequence[Hit], place: int | None) -> tuple[int | None, float | None]:
    return (None, None) if place is None else (place + 1, hits[place].score)


def _range(semantic: Sequence[Hit]) -> tuple[float, float]:
    """Return the lowest similarity and the distance to the highest; a list without differences counts in full."""
    if not semantic:
        return 0.0, 1.0
    low, high = semantic[-1].score, semantic[0].score
    return (low, high - low) if high > low else (low - 1.0, 1.0)
