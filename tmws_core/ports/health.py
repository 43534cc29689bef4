"""What the store says of its own state."""

from collections.abc import Callable
from datetime import datetime

import attrs


@attrs.frozen
class PoolFigures:
    """Connections of this process: those that are lent, those that wait for use, and how many there may be."""

    in_use: int
    idle: int
    limit: int


@attrs.frozen
class Caution:
    """What somebody should change although everything works, and how."""

    reason: str
    remedy: str


@attrs.frozen(kw_only=True)
class StorageHealth:
    """What the store says of itself; `version` is the schema's, `bytes_free` what its disk has room for.

    Of the `unembedded` texts, which wait for a vector, the oldest was stored or changed last at `waiting_since`.
    `problem` tells what it cannot do at the moment, although it can be read. A store in a file has no pool.
    """

    kind: str
    version: str
    memories: int
    unembedded: int
    waiting_since: datetime | None
    bytes_on_disk: int
    bytes_free: int
    problem: str = ""
    pool: PoolFigures | None = None
    caution: Caution | None = None


@attrs.frozen
class Flaw:
    """Something that is wrong in the store; it is `derived` where `reindex` makes it anew from what is right."""

    problem: str
    derived: bool = False


@attrs.frozen
class Reindexed:
    """How many entries of the lexical index were written anew, and what was removed from it: entries, or words."""

    written: int
    removed: int


Read = Callable[[int], None]
"""Takes how many memories have been read."""


def unheard(_: int) -> None:
    """Tell nobody how many memories have been read."""
