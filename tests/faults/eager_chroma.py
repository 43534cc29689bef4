"""A server whose approximate index is used for few memories already: `python -m tests.faults.eager_chroma`.

By the costs that were measured an index is worth it from 100,000 memories on; here from the first one.
"""

from datetime import timedelta
from functools import partial

from tests.shells import serving
from tmws_adapters import partitioned

COSTS = partitioned.Costs(partition=0.0, candidate=0.0)


def main() -> None:
    partitioned.open_partitioned = partial(
        partitioned.open_partitioned, costs=COSTS, interval=timedelta(milliseconds=100), recall=0.0
    )
    serving.main()


if __name__ == "__main__":
    main()
