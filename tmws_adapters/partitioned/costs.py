"""What the two ways of searching cost."""

from math import ceil

import attrs

TYPICAL_LIMIT = 200
"""Documents that a search asks for: the candidates of a first page."""

OVERSAMPLING = 2
"""Candidates asked for by document wanted: approximate search misses some of the nearest, the fewer the more it keeps.

Chroma with ef_search 100, 384 dimensions, recall@10 of searches for 10 / 200 / 400 documents: 0.985 / 0.995 / 0.998 of
20,000, 0.962 / 0.988 / 1.000 of 50,000, 0.930 / 0.978 / 0.995 of 100,000 (vectors drawn with the covariance of those
that MiniLM gives LoCoMo).
"""


def candidates(limit: int, held: int, allowed: int) -> int:
    """Return how many documents to ask partitions for that hold so many, of which so many are allowed."""
    return ceil(OVERSAMPLING * limit * held / allowed)


@attrs.frozen(kw_only=True)
class Costs:
    """Microseconds, measured on one of two cores.

    p50 in milliseconds with 384 dimensions, exact search of all and Chroma for 200 / 400 / 1,000 documents: 1.9 and
    4.5 / 5.7 / 9.4 of 20,000, 4.2 and 6.5 / 7.3 / 10.9 of 50,000, 6.8 and 5.6 / 7.4 / 12.3 of 100,000. With 1,024
    dimensions: 2.6 and 4.6 / 6.6 / 10.9 of 15,000, 4.4 and 6.0 / 6.2 / 11.4 of 30,000.
    """

    value: float = 0.00018
    """To compare one value of the query with one of a document."""

    partition: float = 3500.0
    """To ask for one partition."""

    candidate: float = 8.0
    """For each document that a partition is asked for."""

    def favour_index(self, dimension: int, *, candidates: int, documents: int) -> bool:
        """Tell whether asking a partition for candidates is cheaper than comparing the query with those documents."""
        return self.partition + self.candidate * candidates < self.value * dimension * documents

    def worthwhile(self, dimension: int) -> int:
        """Return how many documents a partition must hold for the index to answer a search of all of them.

        97,000 with 384 dimensions, 36,000 with 1,024.
        """
        asked = self.partition + self.candidate * OVERSAMPLING * TYPICAL_LIMIT
        return int(asked / (self.value * dimension)) + 1
