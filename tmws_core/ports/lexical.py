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
        them as it stemmed the documents. No terms find nothing. A score lies between 0 and 1: it is the share of what a
        text would score that holds all terms over and over, and so of how much of the rare words it covers. How rare a
        term is, is known from the scope alone.
        """
        ...
