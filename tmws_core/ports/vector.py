"""Vector search inside a set of allowed documents."""

from array import array
from typing import Protocol

from tmws_core.domain.embedding import Vector
from tmws_core.domain.ranking import Hit


class VectorIndex(Protocol):
    """Finds the nearest vectors; it never decides who may see what."""

    @property
    def source(self) -> str:
        """The word for `search_source`."""
        ...

    async def search(self, allowed: "array[int]", query: Vector, limit: int) -> list[Hit]:
        """Return the `limit` allowed documents nearest to the query, best first, with their cosine similarity.

        `allowed` holds ascending document numbers (type code "q") and nothing outside it is returned. Documents
        without a vector are passed over.
        """
        ...

    async def health(self) -> dict[str, int]:
        """Return figures about the index, such as how many vectors it holds in memory."""
        ...
