"""Reads memories in one transaction."""

import sqlite3
from array import array
from collections.abc import Collection, Sequence
from datetime import datetime

import attrs
import orjson

from tmws_adapters.sql.memories import REPLACED, SUCCESSORS, history_query, texts_at_query
from tmws_adapters.sql.waiting import WAITING_AGENTS
from tmws_adapters.sqlite.known import known
from tmws_adapters.sqlite.predicate import inside, visible
from tmws_adapters.sqlite.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.sqlite.scopes import Members, Scopes, members_now
from tmws_adapters.sqlite.session import Session
from tmws_adapters.sqlite.times import microseconds, moment, optional_moment
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import Memory, MemoryStats, MemoryVersion, Uses
from tmws_core.errors import MemoryNotFound
from tmws_core.ports.storage import FORMER_BYTES, FORMER_TEXTS, Fingerprint, Known, Order, Searchable, Unembedded

_PARTITIONS = """
    SELECT
        namespace || CASE access_level
            WHEN 'private' THEN '|private|' || agent_id
            WHEN 'team' THEN '|team'
            WHEN 'shared' THEN '|shared'
            ELSE '|open'
        END,
        group_concat(document)
    FROM memories_v2 INDEXED BY memories_v2_scope WHERE model IS NOT NULL GROUP BY 1
"""

_WANTED = "m.document NOT IN (SELECT value FROM json_each(:without))"
_UNEMBEDDED = f"""
    {WAITING_AGENTS.format(after=":after", limit=":limit", wanted=_WANTED)}
    SELECT m.document, m.agent_id, m.content, m.occurred_at FROM (
        SELECT document, row_number() OVER (PARTITION BY w.agent_id ORDER BY importance DESC, id DESC) AS turn, place
        FROM agents CROSS JOIN memories_v2 AS w ON w.document IN (
            SELECT m.document FROM memories_v2 AS m WHERE m.model IS NULL AND m.agent_id = agents.agent_id AND {_WANTED}
            ORDER BY m.importance DESC, m.id DESC LIMIT :limit
        )
        ORDER BY turn, place LIMIT :limit
    ) AS chosen JOIN memories_v2 AS m ON m.document = chosen.document ORDER BY turn, place
"""  # noqa: S608 - texts are constants, values are bound


@attrs.frozen
class SqliteMemoryReader:
    """A MemoryReader; each method is one trip to a worker thread. `scopes` is for snapshots only."""

    _session: Session
    _scopes: Scopes | None = None

    async def get(self, memory_id: str, visibility: Visibility) -> Memory:
        """Return one memory; MemoryNotFound unless it exists and is visible."""
        seen = visible(visibility)
        sql = f"{SELECT_MEMORIES} WHERE m.id = :id AND {seen.sql}"

        def work(connection: sqlite3.Connection) -> Memory:
            row = connection.execute(sql, {**seen.values, "id": memory_id}).fetchone()
            if row is None:
                raise MemoryNotFound(memory_id=memory_id)
            return FORMS.memory(row)

        return await self._session.run(work)

    async def successors(self, memory_id: str, limit: int) -> list[str]:
        """Return what has replaced a memory, what has replaced that, and so on, whoever may see them, up to a limit."""
        sql, values = SUCCESSORS.format(id="?", limit="?"), (memory_id, limit)
        return await self._session.run(lambda connection: [row[0] for row in connection.execute(sql, values)])

    async def replaced(self, memory_id: str, agent_id: str, limit: int) -> int:
        """Return how many memories of an agent name a memory as their successor, up to a limit."""
        sql, values = REPLACED.format(id="?", agent_id="?", limit="?"), (memory_id, agent_id, limit)
        return await self._session.run(lambda connection: int(connection.execute(sql, values).fetchone()[0]))

    async def visible(self, memory_ids: Sequence[str], visibility: Visibility) -> set[str]:
        """Return those of the ids whose memories exist and are visible."""
        seen = visible(visibility)
        sql = f"SELECT m.id FROM memories_v2 AS m WHERE m.id IN (SELECT value FROM json_each(:ids)) AND {seen.sql}"  # noqa: S608 - texts are constants, values are bound
        values = {**seen.values, "ids": orjson.dumps(list(memory_ids)).decode()}
        return await self._session.run(lambda connection: {row[0] for row in connection.execute(sql, values)})

    async def page(self, scope: Scope, *, after: str | None, limit: int, order: Order) -> list[Memory]:
        """Return at most `limit` memories of the scope in the order of their ids, beginning behind `after`."""
        part = inside(scope)
        comparison, direction = ("<", "DESC") if order == "newest" else (">", "ASC")
        behind = "TRUE" if after is None else f"m.id {comparison} :after"
        sql = f"{SELECT_MEMORIES} WHERE {behind} AND {part.sql} ORDER BY m.id {direction} LIMIT :limit"
        values = {**part.values, "after": after, "limit": limit}
        return await self._session.run(lambda connection: list(map(FORMS.memory, connection.execute(sql, values))))

    async def searchable(self, scope: Scope) -> Searchable:
        """Return the documents of the scope that have a vector of the active model, and that model."""
        members = await self._session.run(lambda connection: self._members(connection, scope))
        return Searchable(scope=scope, model=members.model, documents=members.embedded)

    async def partitions(self) -> "dict[str, array[int]]":
        """Return all documents that have a vector, by partition: ascending, type code "q".

        100,000 memories in 115 partitions: 58 ms, nearly all of it outside of the interpreter's lock; as rows: 190 ms.
        """
        return await self._session.run(
            lambda connection: {
                # SQLite does not promise the order inside of a group; sorting what is sorted costs nothing.
                partition: array("q", sorted(orjson.loads(f"[{numbers}]")))
                for partition, numbers in connection.execute(_PARTITIONS)
            }
        )

    async def of_documents(self, documents: Sequence[int], scope: Scope) -> dict[int, Memory]:
        """Return the memories of those documents that lie in the scope, by document."""
        sql = f"{SELECT_MEMORIES} JOIN json_each(?) AS wanted ON m.document = wanted.value"

        def work(connection: sqlite3.Connection) -> dict[int, Memory]:
            marks = self._members(connection, scope).marks
            inside = [document for document in documents if 0 <= document < len(marks) and marks[document]]
            rows = connection.execute(sql, (orjson.dumps(inside).decode(),))
            return {memory.document: memory for memory in map(FORMS.memory, rows)}

        return await self._session.run(work)

    async def known(self, fingerprints: Sequence[Fingerprint]) -> list[Known]:
        """Tell for each fingerprint, in order, what is stored of it; the key of a memory that is gone is not used."""
        return await self._session.run(lambda connection: known(connection, fingerprints))

    async def history(
        self, memory_id: str, *, order: Order = "oldest", behind: int | None = None, limit: int = FORMER_TEXTS
    ) -> list[MemoryVersion]:
        """Return a page of the former texts of a memory."""
        sql = history_query(order, behind=behind is not None, length="length(CAST(content AS BLOB))", value=":{name}")
        values = {"id": memory_id, "behind": behind, "limit": limit, "size": FORMER_BYTES}
        return await self._session.run(lambda connection: list(map(FORMS.former, connection.execute(sql, values))))

    async def count_history(self, memory_id: str) -> int:
        """Count the former texts of a memory."""
        sql = "SELECT count(*) FROM memory_history WHERE memory_id = ?"
        return await self._session.run(lambda connection: int(connection.execute(sql, (memory_id,)).fetchone()[0]))

    async def texts_at(self, memory_ids: Sequence[str], moment: datetime) -> dict[str, MemoryVersion]:
        """Return the former texts that memories had at a moment, by memory."""
        sql = texts_at_query(wanted="m.id IN (SELECT value FROM json_each(:ids))", value=":{name}")
        values = {"ids": orjson.dumps(list(memory_ids)).decode(), "moment": microseconds(moment)}
        return await self._session.run(
            lambda connection: {row[-1]: FORMS.former(row) for row in connection.execute(sql, values)}
        )

    async def rewritten(self, memory_ids: Collection[str], content: str | None = None) -> set[str]:
        """Return those of the memories that have a former text, or that very one."""
        same = "" if content is None else "AND content = :content"
        sql = f"""
            SELECT wanted.value FROM json_each(:ids) AS wanted
            WHERE EXISTS (SELECT 1 FROM memory_history WHERE memory_id = wanted.value {same})
        """  # noqa: S608 - texts are constants, values are bound
        values = {"ids": orjson.dumps(list(memory_ids)).decode(), "content": content}
        return await self._session.run(lambda connection: {row[0] for row in connection.execute(sql, values)})

    async def uses(self, documents: Sequence[int]) -> dict[int, Uses]:
        """Return how often the memories of those documents were used, by document; unused ones are left out."""
        sql = """
            SELECT m.document, u.uses, u.used_at FROM json_each(?) AS wanted
            CROSS JOIN memories_v2 AS m ON m.document = wanted.value
            CROSS JOIN memory_uses AS u ON u.memory_id = m.id
        """
        values = (orjson.dumps(list(documents)).decode(),)

        def work(connection: sqlite3.Connection) -> dict[int, Uses]:
            return {document: Uses(uses, moment(at)) for document, uses, at in connection.execute(sql, values)}

        return await self._session.run(work)

    async def stats(self, visibility: Visibility) -> MemoryStats:
        """Count the visible memories, expired and superseded ones included."""
        seen = visible(visibility)
        sql = f"""
            SELECT memory_type, access_level, namespace, count(*), count(model), min(created_at), max(created_at)
            FROM memories_v2 AS m INDEXED BY memories_v2_scope WHERE {seen.sql} GROUP BY 1, 2, 3
        """  # noqa: S608 - texts are constants, values are bound
        return await self._session.run(lambda connection: FORMS.stats(connection.execute(sql, seen.values).fetchall()))

    async def unembedded(self, limit: int, without: Collection[int] = (), after: str = "") -> list[Unembedded]:
        """Return at most `limit` texts without a vector; agents take turns, those that come `after` that one first.

        Of an agent the most important come first, then the newest; those of the documents `without` are left out.
        """
        values = {"after": after, "without": orjson.dumps(list(without)).decode(), "limit": limit}

        def work(connection: sqlite3.Connection) -> list[Unembedded]:
            return [
                Unembedded(
                    document=document, agent_id=agent_id, content=content, occurred_at=optional_moment(occurred_at)
                )
                for document, agent_id, content, occurred_at in connection.execute(_UNEMBEDDED, values)
            ]

        return await self._session.run(work)

    def _members(self, connection: sqlite3.Connection, scope: Scope) -> Members:
        return members_now(connection, scope) if self._scopes is None else self._scopes.members(connection, scope)
