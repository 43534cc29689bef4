"""Rows of memories_v2 as memories, and counts over them."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import attrs
import orjson

from tmws_core.domain.memory import AccessLevel, Memory, MemoryStats, MemoryType, Share, SharePermission

Row = tuple[Any, ...]

HISTORY = """
    SELECT h.version, h.content, coalesce(lag(h.valid_to) OVER (ORDER BY h.version), m.created_at), h.valid_to,
        h.changed_by
    FROM memory_history AS h JOIN memories_v2 AS m ON m.id = h.memory_id
"""
"""The beginning of the query for former texts, in the words of either store.

A text is valid from the moment at which the one before it ended. The column `valid_from` holds the last change of any
kind before its end, as earlier versions wrote it, too.
"""

SUCCESSORS = """
    WITH RECURSIVE chain (id) AS (
        SELECT superseded_by FROM memories_v2 WHERE id = {id}
        UNION
        SELECT (SELECT m.superseded_by FROM memories_v2 AS m WHERE m.id = chain.id) FROM chain
    )
    SELECT id FROM chain WHERE id IS NOT NULL LIMIT {limit}
"""
"""The query for what has replaced a memory, and what has replaced that; it ends even where they replace each other.

A subquery for one value is looked up by its key, whatever a planner thinks of a join: the join of PostgreSQL read all
memories for each step of a chain (2,500 steps took 20 s). Rows are made as they are asked for, so that the limit bounds
the steps.
"""

RELINK = """
    UPDATE memories_v2 AS m SET
        superseded_by = CASE WHEN m.id <> gone.successor THEN gone.successor END,
        superseded_at = CASE WHEN m.id <> gone.successor THEN m.superseded_at END,
        updated_at = {at}, version = m.version + 1
    FROM (SELECT id AS gone_id, nullif(superseded_by, id) AS successor FROM memories_v2 WHERE id = {id}) AS gone
    WHERE m.superseded_by = gone.gone_id AND m.id <> gone.gone_id
    RETURNING id, agent_id, model IS NOT NULL
"""
"""Lets what a memory had replaced be replaced by the successor of that memory, or by nothing if it has none.

It is a change of each of them like any other, and tells which they are.
"""


@attrs.frozen
class Forms:
    """How a store hands over what has another form in each: times, and lists. Neither is asked for a NULL."""

    time: Callable[[Any], datetime]
    items: Callable[[Any], Iterable[Any]]

    def optional(self, value: Any) -> datetime | None:
        """Return a time, or None for a NULL."""
        return None if value is None else self.time(value)

    def memory(self, row: Row) -> Memory:
        """Return the memory of a row: its columns, whether it has a vector, and its shares as a list of pairs."""
        (
            memory_id,
            document,
            agent_id,
            namespace,
            content,
            memory_type,
            importance,
            access_level,
            tags,
            metadata,
            session_id,
            sequence,
            occurred_at,
            expires_at,
            source,
            written_by,
            transport,
            created_at,
            updated_at,
            version,
            superseded_by,
            superseded_at,
            embedded,
            shares,
        ) = row
        return Memory(
            id=memory_id,
            document=document,
            agent_id=agent_id,
            namespace=namespace,
            content=content,
            memory_type=MemoryType(memory_type),
            importance=importance,
            access_level=AccessLevel(access_level),
            shared_with=tuple(Share(agent, SharePermission(word)) for agent, word in self.items(shares))
            if shares
            else (),
            tags=tuple(self.items(tags)),
            metadata=orjson.loads(metadata),
            session_id=session_id,
            sequence=sequence,
            occurred_at=self.optional(occurred_at),
            expires_at=self.optional(expires_at),
            source=source,
            written_by=written_by,
            transport=transport,
            created_at=self.time(created_at),
            updated_at=self.time(updated_at),
            version=version,
            superseded_by=superseded_by,
            superseded_at=self.optional(superseded_at),
            embedded=bool(embedded),
        )

    def stats(self, groups: list[Row]) -> MemoryStats:
        """Add up groups: type, access level, namespace, how many, how many with a vector, the oldest and the newest."""
        by_type: Counter[str] = Counter()
        by_access_level: Counter[str] = Counter()
        by_namespace: Counter[str] = Counter()
        for memory_type, access_level, namespace, count, *_ in groups:
            by_type[memory_type] += count
            by_access_level[access_level] += count
            by_namespace[namespace] += count
        return MemoryStats(
            total=by_type.total(),
            embedded=sum(group[4] for group in groups),
            by_type=dict(by_type),
            by_access_level=dict(by_access_level),
            by_namespace=dict(by_namespace),
            oldest=self.optional(min((group[5] for group in groups), default=None)),
            newest=self.optional(max((group[6] for group in groups), default=None)),
        )
