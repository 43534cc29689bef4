"""An approximate vector index beside the store."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit


@attrs.frozen(kw_only=True)
class IndexChange:
    """What the index has to do for one document: hold its vector in a partition, or with None forget it there."""

    document: int
    partition: str
    vector: Vector | None


@attrs.frozen(kw_only=True)
class IndexStatus:
    """What the index holds.

    `partitions` counts the documents by partition. `model` made the vectors; it is None in an index that was never
    begun, or whose reset did not end. `parameters` are for people.
    """

    partitions: Mapping[str, int]
    model: EmbeddingModel | None
    parameters: Mapping[str, str | int]


class DerivedIndex(Protocol):
    """An approximate vector index that is fed from the store and can be lost at any time.

    Partitions are names; each is searched alone, so no metadata filter is ever needed. It never decides who may see
    what. Every method may raise IndexUnavailable; every method but `reset` and `status` does so in an index that was
    never begun.
    """

    @property
    def source(self) -> str:
        """The word for `search_source`."""
        ...

    async def apply(self, changes: Sequence[IndexChange]) -> None:
        """Make the changes, in order and idempotently; partitions appear when they are needed.

        A change that raises may have been made in part: repeat it. IndexUnavailable if a vector has another dimension
        than the index's model.
        """
        ...

    async def search(self, partitions: Sequence[str], query: Vector, limit: int) -> list[Hit]:
        """Return the `limit` documents nearest to the query in any of the partitions, best first, by cosine similarity.

        Each document comes once, of equally near ones the one with the higher number first. Unknown partitions are
        passed over. IndexUnavailable if the query has another dimension than the index's model.
        """
        ...

    async def documents(self, partition: str) -> "array[int]":
        """Return the documents that a partition holds: ascending, type code "q", none if it is unknown."""
        ...

    async def drop(self, partition: str) -> None:
        """Forget a partition; does nothing if it is unknown."""
        ...

    async def reset(self, model: EmbeddingModel) -> None:
        """Forget everything and begin anew for vectors of `model`; heals an index that was lost or damaged."""
        ...

    async def status(self) -> IndexStatus:
        """Count what the index holds."""
        ...
