"""Lexical search."""

from collections.abc import Sequence
from typing import Protocol

from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit


class LexicalIndex(Protocol):
    """Finds documents by their words."""

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Terms are words of letters and digits, lower case, as `domain.text.query_terms` returns them; the index stems
        them as it stemmed the documents. Scores are positive, higher is better. No terms find nothing.
        """
        ...
