"""BM25, from what a caller may see: how many memories there are, how many hold a word, how long they are."""

import math
from collections.abc import Iterable

K1, B = 1.2, 0.75
"""What BM25 has in FTS5 (sqlite.org/fts5.html#the_bm25_function)."""


def idf(documents: float, count: float) -> float:
    """Return the weight of a word that `count` of so many documents have; it falls, and is positive."""
    return math.log1p((max(documents - count, 0.0) + 0.5) / (count + 0.5))


def most(documents: float, counts: Iterable[float]) -> float:
    """Return what a text would score that holds all words over and over, of which so many documents have each.

    A word that no document has weighs as much as one that a single document has: what is asked for and not there is
    missing, but it may be no more than a word of the question.
    """
    return (K1 + 1) * sum(idf(documents, max(count, 1.0)) for count in counts)
