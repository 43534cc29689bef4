"""What the two ways of searching cost."""

from math import ceil

import attrs

TYPICAL_LIMIT = 200
"""Documents that a search asks for: the candidates of a first page."""

OVERSAMPLING = 2
"""Candidates asked for by document wanted, so that enough of them are allowed.

It does nothing for recall where a graph keeps more candidates anyway, and to be asked for one costs several times as
much as to keep it: 8 and 1 to 4 microseconds.
"""


def candidates(limit: int, held: int, allowed: int) -> int:
    """Return how many documents to ask partitions for that hold so many, of which so many are allowed."""
    return ceil(OVERSAMPLING * limit * held / allowed)


@attrs.frozen(kw_only=True)
class Costs:
    """Microseconds, measured on one of two cores.

    Exact search, through codes of one byte a value, took 0.65 ms of 20,000, 2.5 of 100,000 and 8.6 of 400,000 with 384
    dimensions, 2.4 to 3.6 of 50,000 with 1,024 (p50). Chroma alone, whose graph keeps 1,600 candidates, took 6.9 / 7.5
    / 8.2 / 9.6 ms of 100,000 with 384 for 20 / 200 / 400 / 1,000 documents.
    """

    value: float = 0.000065
    """To compare one value of the query with one of a document."""

    partition: float = 7000.0
    """To ask for one partition."""

    candidate: float = 8.0
    """For each document that a partition is asked for."""

    def favour_index(self, dimension: int, *, candidates: int, documents: int) -> bool:
        """Tell whether asking a partition for candidates is cheaper than comparing the query with those documents."""
        return self.partition + self.candidate * candidates < self.value * dimension * documents

    def worthwhile(self, dimension: int) -> int:
        """Return how many documents a partition must hold for the index to answer a search of all of them.

        409,000 with 384 dimensions, 153,000 with 1,024.
        """
        asked = self.partition + self.candidate * OVERSAMPLING * TYPICAL_LIMIT
        return int(asked / (self.value * dimension)) + 1
