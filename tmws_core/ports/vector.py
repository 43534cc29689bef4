"""Vector search inside a set of allowed documents."""

from typing import Protocol

import attrs

from tmws_core.domain.embedding import Vector
from tmws_core.domain.ranking import Hit
from tmws_core.ports.storage import Searchable


@attrs.frozen(kw_only=True)
class Nearest:
    """The nearest documents, best first, with their cosine similarity; `source` is the word for `search_source`.

    `degraded` says what was missing while searching, where something was.
    """

    hits: list[Hit]
    source: str
    degraded: str | None = None


class VectorIndex(Protocol):
    """Finds the nearest vectors; it never decides who may see what."""

    @property
    def source(self) -> str:
        """The word for `search_source` when all is well."""
        ...

    @property
    def resolves_scopes(self) -> bool:
        """Tell whether it finds out by itself what a scope holds; otherwise it needs the documents."""
        ...

    async def search(self, searchable: Searchable, query: Vector, limit: int) -> Nearest:
        """Return the `limit` searchable documents nearest to the query, and nothing else.

        Documents without a vector are passed over.
        """
        ...

    async def health(self) -> dict[str, int]:
        """Return figures about the index, such as how many vectors it holds in memory."""
        ...
