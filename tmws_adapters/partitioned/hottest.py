"""Which documents an index with limited room holds."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping

STEPS = 50
"""Steps in which the room is gone through: new documents push out old ones a fiftieth of the room at a time."""


def hottest(
    partitions: "Mapping[str, array[int]]", room: int, least: Callable[[str], float]
) -> "dict[str, array[int]]":
    """Return the most recently written documents of the partitions that are worth it.

    `partitions` are ascending. Together the answer is at most `room` documents, or any number if that is 0; up to a
    fiftieth of it stays empty. A partition that does not keep the `least` of its name leaves its room to the others.
    """
    kept = {name: documents for name, documents in partitions.items() if len(documents) >= least(name)}
    while True:
        first = _first(kept, room)
        cut = {name: documents[bisect_left(documents, first) :] for name, documents in kept.items()}
        poor = [name for name, documents in cut.items() if len(documents) < least(name)]
        if not poor:
            return cut
        del kept[min(poor, key=lambda name: len(cut[name]))]


def _first(partitions: "Mapping[str, array[int]]", room: int) -> int:
    """Return the number that the hottest documents begin at; a multiple of a step, so that it seldom changes."""
    if not room or sum(map(len, partitions.values())) <= room:
        return 0
    numbers = sorted(number for documents in partitions.values() for number in documents[-room - 1 :])
    step = max(1, room // STEPS)
    return (numbers[-room - 1] // step + 1) * step
