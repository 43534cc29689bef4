"""How a graph of vectors is built and searched."""

from typing import Literal

import attrs

BREADTH = 1600
"""Candidates that a search keeps at least, because only large partitions come here.

recall@10 with 400 / 800 / 1,600 of 200,000 vectors drawn like those that MiniLM gives LoCoMo, asked with its questions:
0.971 / 0.993 / 0.999. Of random ones not even 25,600 of 100,000 find 0.99. To keep one costs 1 to 2 microseconds, to
return it 8.
"""


@attrs.frozen(kw_only=True)
class HnswParameters:
    """The parameters of HNSW (Malkov and Yashunin, 2016) for partitions that are created from now on.

    `m` is the number of neighbours of a vector, `ef_construction` and `ef_search` how many candidates are kept while
    one is added or searched; a search keeps BREADTH at least, and as many as it is to return.
    """

    space: Literal["cosine", "l2", "ip"] = "cosine"
    m: int = 16
    ef_construction: int = 200
    ef_search: int = 100

    @property
    def breadth(self) -> int:
        """Return how many candidates a search keeps."""
        return max(self.ef_search, BREADTH)
