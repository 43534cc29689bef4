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

_SEEN = """(
    later.owner = m.agent_id
    OR later.level IN ('public', 'system')
    OR (later.level = 'team' AND later.space = coalesce(
        (SELECT owner.namespace FROM agents AS owner WHERE owner.id = m.agent_id), m.namespace
    ))
    OR (later.level = 'shared' AND EXISTS (
        SELECT 1 FROM memory_shares AS share WHERE share.memory_id = later.successor AND share.agent_id = m.agent_id
    ))
    OR EXISTS (SELECT 1 FROM agents AS owner WHERE owner.id = m.agent_id AND owner.role = 'admin')
)"""
"""Whether the owner of a memory `m` may see what is to replace it, `later`: what `Visibility` says of that owner.

The predicates of the stores ask for one caller; here each row has another.
"""

RELINK = f"""
    UPDATE memories_v2 AS m SET
        superseded_by = CASE WHEN m.id <> later.successor AND {_SEEN} THEN later.successor END,
        superseded_at = CASE WHEN m.id <> later.successor AND {_SEEN} THEN m.superseded_at END,
        updated_at = {{at}}, version = m.version + 1
    FROM (
        SELECT next.id AS successor, next.agent_id AS owner, next.access_level AS level, next.namespace AS space
        FROM memories_v2 AS gone
        LEFT JOIN memories_v2 AS next ON next.id = gone.superseded_by AND next.id <> gone.id
        WHERE gone.id = {{id}}
    ) AS later
    WHERE m.superseded_by = {{id}} AND m.id <> {{id}}
    RETURNING id, agent_id, model IS NOT NULL
"""  # noqa: S608 - texts are constants, values are bound
"""Lets what a memory had replaced be replaced by the successor of that memory, or by nothing.

It is replaced by nothing if there is no successor, or none that its owner may see: nobody could undo what ties it to
that one. It is a change of each of them like any other, and tells which they are. Only columns of `m` have names that
RETURNING may use alone.
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
