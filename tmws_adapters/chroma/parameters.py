"""How a graph of vectors is built and searched."""

from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class HnswParameters:
    """The parameters of HNSW (Malkov and Yashunin, 2016) for partitions that are created from now on.

    `m` is the number of neighbours of a vector, `ef_construction` and `ef_search` how many candidates are kept while
    one is added or searched; a search for more than `ef_search` documents keeps as many as it is to return.
    """

    space: Literal["cosine", "l2", "ip"] = "cosine"
    m: int = 16
    ef_construction: int = 200
    ef_search: int = 100
