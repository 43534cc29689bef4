"""Rows of memories_v2 as memories, and counts over them."""

from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import attrs
import orjson

from tmws_core.domain.memory import (
    BETWEEN,
    KEYS,
    AccessLevel,
    Memory,
    MemoryStats,
    MemoryType,
    MemoryVersion,
    Share,
    SharePermission,
)
from tmws_core.errors import InvalidField
from tmws_core.ports.storage import Order

Row = tuple[Any, ...]

RETURNED = 8
"""Turns that borrow words again at once, of those that come back as what had replaced them is deleted.

Nobody writes meanwhile, and an entry of 16 KB takes some 10 to 30 ms. More come back where a session was summed up.
"""

_BEGUN = """
    coalesce((
        SELECT p.valid_to FROM memory_history AS p
        WHERE p.memory_id = {text}.memory_id AND p.version < {text}.version ORDER BY p.version DESC LIMIT 1
    ), m.created_at)
"""
"""When a former text became the one of its memory: at the moment at which the one before it ended.

The column `valid_from` holds the last change of any kind before its end, as earlier versions wrote it, too.
"""

_FORMER_TEXTS = f"""
    SELECT h.version, h.content, {_BEGUN.format(text="h")}, h.valid_to, h.changed_by, h.memory_id
    FROM memory_history AS h JOIN memories_v2 AS m ON m.id = h.memory_id
"""  # noqa: S608 - texts are constants

_HISTORY = f"""
    WITH near AS (
        SELECT version, {{length}} AS length FROM memory_history
        WHERE memory_id = {{id}} AND {{behind}} ORDER BY version {{direction}} LIMIT {{limit}}
    ), page AS (
        SELECT version, sum(length) OVER (ORDER BY version {{direction}}) - length AS before FROM near
    )
    {_FORMER_TEXTS} JOIN page ON page.version = h.version
    WHERE h.memory_id = {{id}} AND page.before < {{size}} ORDER BY h.version {{direction}}
"""  # noqa: S608 - as above

_TEXTS_AT = f"""
    {_FORMER_TEXTS} WHERE {{wanted}} AND h.version = (
        SELECT min(g.version) FROM memory_history AS g
        WHERE g.memory_id = m.id AND g.valid_to > {{moment}} AND {_BEGUN.format(text="g")} <= {{moment}}
    )
"""  # noqa: S608 - as above


REPLACED = """
    SELECT count(*) FROM (
        SELECT 1 FROM memories_v2 WHERE superseded_by = {id} AND agent_id = {agent_id} LIMIT {limit}
    ) AS replaced
"""
"""The query for how many memories of an agent name one as their successor."""

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
        updated_at = CASE WHEN m.updated_at > {{at}} THEN m.updated_at ELSE {{at}} END, version = m.version + 1
    FROM (
        SELECT next.id AS successor, next.agent_id AS owner, next.access_level AS level, next.namespace AS space
        FROM memories_v2 AS gone
        LEFT JOIN memories_v2 AS next ON next.id = gone.superseded_by AND next.id <> gone.id
        WHERE gone.id = {{id}}
    ) AS later
    WHERE m.superseded_by = {{id}} AND m.id <> {{id}}
    RETURNING id, agent_id, namespace, access_level, model IS NOT NULL, superseded_by IS NOT NULL
"""  # noqa: S608 - texts are constants, values are bound
"""Lets what a memory had replaced be replaced by the successor of that memory, or by nothing.

It is replaced by nothing if there is no successor, or none that its owner may see: nobody could undo what ties it to
that one. It is a change of each of them like any other, and tells which they are. Only columns of `m` have names that
RETURNING may use alone.
"""


FORGET_KEYS = f"""
    DELETE FROM idempotency_keys WHERE (agent_id, key) IN (
        SELECT agent_id, key FROM (
            SELECT agent_id, key, row_number() OVER (PARTITION BY memory_id ORDER BY {{new}} DESC, key) AS place
            FROM idempotency_keys WHERE duplicate AND {{theirs}}
        ) AS kept
        WHERE place > {KEYS}
    )
"""  # noqa: S608 - texts are constants, values are bound
"""Removes the keys of memories beyond KEYS that came with repetitions, by what tells `theirs`, and the `new` ones."""


def written_anew(returned: AbstractSet[int], behind: Iterable[int]) -> list[int]:
    """Return the documents whose entries are written anew as turns come back: the first of these, and those `behind`.

    All of them are the deleted memory's owner's. What others said stands alone until something right before it is
    written, and what is behind that keeps its words: nobody can be kept from deleting what others say has replaced
    theirs.

    The other ones that come back stand alone until something right before them is written. What is behind them cannot
    wait: it would keep words of turns that are no longer before it, and be found by them when those have ended.
    InvalidField if that is too much.
    """
    between = set(behind) - returned
    if len(between) > BETWEEN:
        raise InvalidField(
            name="memory_id",
            reason=f"has replaced turns of sessions with more than {BETWEEN} others between them, where they come back",
            hint="Clear the superseded_by of some of those turns first, or name what replaces this memory",
        )
    return [*sorted(returned)[:RETURNED], *sorted(between)]


def history_query(order: Order, *, behind: bool, length: str, value: str) -> str:
    """Return the query for a page of former texts: of `id`, from behind version `behind`, within `limit` and `size`.

    `length` gives the bytes of the column `content`; `value` is how the store writes a value by its name.
    """
    comparison, direction = ("<", "DESC") if order == "newest" else (">", "ASC")
    names = {name: value.format(name=name) for name in ("id", "limit", "size")}
    beginning = f"version {comparison} {value.format(name='behind')}" if behind else "TRUE"
    return _HISTORY.format(length=length, behind=beginning, direction=direction, **names)


def texts_at_query(*, wanted: str, value: str) -> str:
    """Return the query for the former texts that memories had at the `moment`; `wanted` says of which, as `m`."""
    return _TEXTS_AT.format(wanted=wanted, moment=value.format(name="moment"))


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

    def former(self, row: Row) -> MemoryVersion:
        """Return the former text of a row of `history_query` or `texts_at_query`, which ends with its memory's id."""
        version, content, valid_from, valid_to, changed_by, _ = row
        return MemoryVersion(
            version=version,
            content=content,
            valid_from=self.time(valid_from),
            valid_to=self.time(valid_to),
            changed_by=changed_by,
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
