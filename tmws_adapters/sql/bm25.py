"""BM25, from what a caller may see: how many memories there are, how many hold a word, how long they are."""

import math

K1, B = 1.2, 0.75
"""What BM25 has in FTS5 (sqlite.org/fts5.html#the_bm25_function)."""


def idf(documents: float, count: float) -> float:
    """Return the weight of a word that `count` of so many documents have; it falls, and is positive."""
    return math.log1p((max(documents - count, 0.0) + 0.5) / (count + 0.5))
