"""Which memories new ones are compared with, where they are many: both stores choose alike."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from tmws_core.ports.storage import ALIKE_BYTES

BESIDE = 1024
"""Bytes that a memory counts beside its text and its metadata: tags, and what has a column of its own."""

SHARE = 128
"""Bytes that one of its readers counts."""


def affordable(found: Iterable[Sequence[tuple[str, int]]]) -> set[str]:
    """Return the ids of the memories that are read, of those found for each identity with their bytes, newest first.

    The newest of each identity is read, then the second of each, and so on as long as there is room for them.
    """
    taken: set[str] = set()
    room = ALIKE_BYTES
    for rank, same in enumerate(zip_longest(*found)):
        for each in same:
            if each is None:
                continue
            memory_id, size = each
            if rank and size > room:
                return taken
            taken.add(memory_id)
            room -= size
    return taken
