"""Reads memories in one transaction."""

from array import array
from collections.abc import Collection, Sequence
from datetime import datetime

import attrs

from tmws_adapters.postgres import models
from tmws_adapters.postgres.known import known
from tmws_adapters.postgres.locks import lock_owners, lock_successions
from tmws_adapters.postgres.predicate import inside, visible
from tmws_adapters.postgres.readers import audience_for
from tmws_adapters.postgres.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.postgres.session import Session
from tmws_adapters.sql.memories import REPLACED, SUCCESSORS, history_query, texts_at_query
from tmws_adapters.sql.waiting import WAITING_AGENTS
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
        array_agg(document ORDER BY document)
    FROM memories_v2 WHERE model IS NOT NULL GROUP BY 1
"""

_REPLACED = REPLACED.format(id="%s", agent_id="%s", limit="%s")
_SUCCESSORS = SUCCESSORS.format(id="%s", limit="%s")

_WANTED = "m.document <> ALL(%(without)s::bigint[])"
_UNEMBEDDED = f"""
    {WAITING_AGENTS.format(after="%(after)s", limit="%(limit)s", wanted=_WANTED)}
    SELECT document, chosen.agent_id, content, occurred_at FROM agents CROSS JOIN LATERAL (
        SELECT m.*, row_number() OVER (ORDER BY m.importance DESC, m.id DESC) AS turn FROM memories_v2 AS m
        WHERE m.model IS NULL AND m.agent_id = agents.agent_id AND {_WANTED}
        ORDER BY m.importance DESC, m.id DESC LIMIT %(limit)s
    ) AS chosen ORDER BY turn, place LIMIT %(limit)s
"""  # noqa: S608 - texts are constants, values are bound


@attrs.frozen
class PostgresMemoryReader:
    """A MemoryReader. In a unit of work, what the first `get` and what `known` ask for stays as it is until its end.

    `timeline` is the SQL that tells on which one the server is.
    """

    _session: Session
    _timeline: str

    async def get(self, memory_id: str, visibility: Visibility) -> Memory:
        """Return one memory; MemoryNotFound unless it exists and is visible."""
        self._session.see(audience_for(visibility))
        self._session.finds_by_key()
        if self._session.writes and not self._session.locked:
            owner = await self._session.row("SELECT agent_id FROM memories_v2 WHERE id = %s", (memory_id,))
            lock_owners(self._session, owner or ())
        seen = visible(visibility)
        sql = f"{SELECT_MEMORIES} WHERE m.id = %(id)s AND {seen.sql}"
        row = await self._session.row(sql, {**seen.values, "id": memory_id})
        if row is None:
            raise MemoryNotFound(memory_id=memory_id)
        return FORMS.memory(row)

    async def successors(self, memory_id: str, limit: int) -> list[str]:
        """Return what has replaced a memory, what has replaced that, and so on, whoever may see them, up to a limit."""
        if self._session.writes:
            lock_successions(self._session)
        with self._session.seeing_all(), self._session.without_bitmaps():
            return [row[0] for row in await self._session.rows(_SUCCESSORS, (memory_id, limit), afresh=True)]

    async def replaced(self, memory_id: str, agent_id: str, limit: int) -> int:
        """Return how many memories of an agent name a memory as their successor, up to a limit."""
        with self._session.seeing_all(), self._session.without_bitmaps():
            [(number,)] = await self._session.rows(_REPLACED, (memory_id, agent_id, limit), afresh=True)
        return int(number)

    async def visible(self, memory_ids: Sequence[str], visibility: Visibility) -> set[str]:
        """Return those of the ids whose memories exist and are visible."""
        self._session.see(audience_for(visibility))
        seen = visible(visibility)
        sql = f"SELECT m.id FROM memories_v2 AS m WHERE m.id = ANY(%(ids)s::text[]) AND {seen.sql}"  # noqa: S608 - texts are constants, values are bound
        return {row[0] for row in await self._session.rows(sql, {**seen.values, "ids": list(memory_ids)})}

    async def page(self, scope: Scope, *, after: str | None, limit: int, order: Order) -> list[Memory]:
        """Return at most `limit` memories of the scope in the order of their ids, beginning behind `after`."""
        self._session.see(audience_for(scope.visibility))
        part = inside(scope)
        comparison, direction = ("<", "DESC") if order == "newest" else (">", "ASC")
        behind = "TRUE" if after is None else f"m.id {comparison} %(after)s"
        sql = f"{SELECT_MEMORIES} WHERE {behind} AND {part.sql} ORDER BY m.id {direction} LIMIT %(limit)s"
        values = {**part.values, "after": after, "limit": limit}
        return [FORMS.memory(row) for row in await self._session.rows(sql, values, afresh=True)]

    async def searchable(self, scope: Scope) -> Searchable:
        """Return the active model, and the documents of the scope that have a vector of it."""
        active = await models.active_model(self._session)
        model = None if active is None else active[1].model
        self._session.see(audience_for(scope.visibility))
        part = inside(scope)
        sql = f"""
            SELECT array_agg(m.document ORDER BY m.document), {self._timeline} FROM memories_v2 AS m
            WHERE m.model IS NOT NULL AND {part.sql}
        """  # noqa: S608 - as above
        ((numbers, timeline),) = await self._session.rows(sql, part.values, binary=True, afresh=True)
        return Searchable(scope=scope, model=model, timeline=timeline, documents=array("q", numbers or ()))

    async def partitions(self) -> "dict[str, array[int]]":
        """Return all documents that have a vector, by partition: ascending, type code "q"."""
        with self._session.seeing_all():
            rows = await self._session.rows(_PARTITIONS, binary=True)
        return {name: array("q", numbers) for name, numbers in rows}

    async def of_documents(self, documents: Sequence[int], scope: Scope) -> dict[int, Memory]:
        """Return the memories of those documents that lie in the scope, by document."""
        self._session.see(audience_for(scope.visibility))
        self._session.finds_by_key()
        part = inside(scope)
        sql = f"{SELECT_MEMORIES} WHERE m.document = ANY(%(documents)s::bigint[]) AND {part.sql}"
        rows = await self._session.rows(sql, {**part.values, "documents": list(documents)})
        return {memory.document: memory for memory in map(FORMS.memory, rows)}

    async def known(self, fingerprints: Sequence[Fingerprint]) -> list[Known]:
        """Tell for each fingerprint, in order, what is stored of it; the key of a memory that is gone is not used."""
        return await known(self._session, fingerprints)

    async def history(
        self, memory_id: str, *, order: Order = "oldest", behind: int | None = None, limit: int = FORMER_TEXTS
    ) -> list[MemoryVersion]:
        """Return a page of the former texts of a memory."""
        sql = history_query(order, behind=behind is not None, length="octet_length(content)", value="%({name})s")
        values = {"id": memory_id, "behind": behind, "limit": limit, "size": FORMER_BYTES}
        return [FORMS.former(row) for row in await self._session.rows(sql, values)]

    async def count_history(self, memory_id: str) -> int:
        """Count the former texts of a memory."""
        ((count,),) = await self._session.rows("SELECT count(*) FROM memory_history WHERE memory_id = %s", (memory_id,))
        return int(count)

    async def texts_at(self, memory_ids: Sequence[str], moment: datetime) -> dict[str, MemoryVersion]:
        """Return the former texts that memories had at a moment, by memory."""
        sql = texts_at_query(wanted="m.id = ANY(%(ids)s::text[])", value="%({name})s")
        rows = await self._session.rows(sql, {"ids": list(memory_ids), "moment": moment})
        return {row[-1]: FORMS.former(row) for row in rows}

    async def rewritten(self, memory_ids: Collection[str], content: str | None = None) -> set[str]:
        """Return those of the memories that have a former text, or that very one."""
        same = "" if content is None else "AND content = %(content)s"
        sql = f"""
            SELECT wanted.id FROM unnest(%(ids)s::text[]) AS wanted (id)
            WHERE EXISTS (SELECT 1 FROM memory_history WHERE memory_id = wanted.id {same})
        """  # noqa: S608 - as above
        return {row[0] for row in await self._session.rows(sql, {"ids": list(memory_ids), "content": content})}

    async def uses(self, documents: Sequence[int]) -> dict[int, Uses]:
        """Return how often the memories of those documents were used, by document; unused ones are left out."""
        sql = """
            SELECT m.document, u.uses, u.used_at FROM memories_v2 AS m JOIN memory_uses AS u ON u.memory_id = m.id
            WHERE m.document = ANY(%s::bigint[])
        """
        rows = await self._session.rows(sql, (list(documents),))
        return {document: Uses(uses, used_at) for document, uses, used_at in rows}

    async def stats(self, visibility: Visibility) -> MemoryStats:
        """Count the visible memories, expired and superseded ones included."""
        self._session.see(audience_for(visibility))
        seen = visible(visibility)
        sql = f"""
            SELECT memory_type, access_level, namespace, count(*), count(model), min(created_at), max(created_at)
            FROM memories_v2 AS m WHERE {seen.sql} GROUP BY 1, 2, 3
        """  # noqa: S608 - as above
        return FORMS.stats(await self._session.rows(sql, seen.values, afresh=True))

    async def unembedded(self, limit: int, without: Collection[int] = (), after: str = "") -> list[Unembedded]:
        """Return at most `limit` texts without a vector; agents take turns, those that come `after` that one first.

        Of an agent the most important come first, then the newest; those of the documents `without` are left out.
        """
        values = {"after": after, "without": list(without), "limit": limit}
        with self._session.seeing_all():
            rows = await self._session.rows(_UNEMBEDDED, values)
        return [
            Unembedded(document=document, agent_id=agent_id, content=content, occurred_at=occurred_at)
            for document, agent_id, content, occurred_at in rows
        ]
