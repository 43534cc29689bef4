"""Lexical search with FTS5."""

from collections.abc import Sequence

import attrs

from tmws_adapters.sqlite.connections import ReaderPool
from tmws_adapters.sqlite.predicate import inside
from tmws_core.domain.access import Scope
from tmws_core.domain.ranking import Hit


@attrs.frozen
class SqliteLexical:
    """A LexicalIndex over memories_fts."""

    _readers: ReaderPool

    async def search(self, scope: Scope, terms: Sequence[str], limit: int) -> list[Hit]:
        """Return the `limit` documents of the scope that match any of the terms, by BM25, best first.

        Of two equally good ones the one with the higher number comes first.
        """
        if not terms:
            return []
        part = inside(scope)
        sql = f"""
            SELECT m.document, -bm25(memories_fts) AS score
            FROM memories_fts JOIN memories_v2 AS m ON m.document = memories_fts.rowid
            WHERE memories_fts MATCH :match AND {part.sql} ORDER BY score DESC, m.document DESC LIMIT :limit
        """  # noqa: S608 - texts are constants, values are bound
        values = {**part.values, "match": _any_of(terms), "limit": limit}
        async with self._readers.session() as session:
            return await session.run(lambda connection: [Hit(*row) for row in connection.execute(sql, values)])


def _any_of(terms: Sequence[str]) -> str:
    quoted = (term.replace('"', '""') for term in terms)
    return " OR ".join(f'"{term}"' for term in quoted)
