"""Rows of memories_v2 as memories, and memories as rows."""

from typing import Any

import orjson

from tmws_adapters.postgres.readers import ALL, audience_of
from tmws_adapters.postgres.session import Session
from tmws_adapters.sql.memories import Forms
from tmws_adapters.sql.times import native
from tmws_core.domain.memory import Memory
from tmws_core.ports.storage import NewMemory

SELECT_MEMORIES = """
    SELECT m.id, m.document, m.agent_id, m.namespace, m.content, m.memory_type, m.importance, m.access_level,
        m.tags, m.metadata, m.session_id, m.sequence, m.occurred_at, m.expires_at, m.source, m.written_by,
        m.transport, m.created_at, m.updated_at, m.version, m.superseded_by, m.superseded_at, m.model IS NOT NULL, (
            SELECT json_agg(json_build_array(share.agent_id, share.permission) ORDER BY share.place)
            FROM memory_shares AS share WHERE share.memory_id = m.id
        )
    FROM memories_v2 AS m
"""
"""The beginning of every query for whole memories; `FORMS.memory` reads its rows."""

_COLUMNS = (
    "agent_id",
    "namespace",
    "content",
    "content_hash",
    "memory_type",
    "importance",
    "access_level",
    "audience",
    "tags",
    "metadata",
    "session_id",
    "sequence",
    "occurred_at",
    "expires_at",
    "source",
    "written_by",
    "transport",
    "updated_at",
    "version",
    "superseded_by",
    "superseded_at",
)
_NAMES = ", ".join(_COLUMNS)

_INSERT = f"""
    INSERT INTO memories_v2 (document, model, id, created_at, {_NAMES})
    SELECT document, model, id, created_at, {_NAMES}
    FROM json_populate_recordset(NULL::memories_v2, %s::json) AS new ORDER BY document
"""  # noqa: S608 - names are constants, values are bound

_UPDATE = """
    UPDATE memories_v2 AS m SET (version, {names}) = (
        SELECT m.version + new.version - %(former)s, {names}
        FROM json_populate_record(NULL::memories_v2, %(row)s::json) AS new
    )
    WHERE m.id = %(id)s
"""
_LINKS = ("superseded_by", "superseded_at")
_CHANGED = [name for name in _COLUMNS if name != "version"]
_UPDATE_ALL = _UPDATE.format(names=", ".join(_CHANGED))
_UPDATE_UNLINKED = _UPDATE.format(names=", ".join(name for name in _CHANGED if name not in _LINKS))


FORMS = Forms(time=native, items=list)


def insert_memories(session: Session, numbered: list[tuple[int, NewMemory]], model: int | None) -> None:
    """Write the rows of new memories with their shares, later."""
    rows = [
        {
            "document": document,
            "model": None if new.vector is None else model,
            "id": new.memory.id,
            "created_at": new.memory.created_at,
            **_values_of(new),
        }
        for document, new in numbered
    ]
    session.later(_INSERT, (orjson.dumps(rows).decode(),))
    insert_shares(session, [new.memory for _, new in numbered])


async def update_memory(session: Session, former: int, new: NewMemory, *, links: bool) -> bool:
    """Write what may change of a memory's row, whose version was `former`, and tell whether there is one.

    Whoever deletes its successor changes what replaces it without the lock of its owner. That is left alone without
    `links`, and has a version of its own, as if it had come after this.
    """
    values = {"row": orjson.dumps(_values_of(new)).decode(), "id": new.memory.id, "former": former}
    return await session.run(_UPDATE_ALL if links else _UPDATE_UNLINKED, values) > 0


def insert_shares(session: Session, memories: list[Memory]) -> None:
    """Write the shares of memories that have none stored, later."""
    shares = [
        (memory.id, share.agent_id, share.permission.value, place)
        for memory in memories
        for place, share in enumerate(memory.shared_with)
    ]
    if shares:
        sql = """
            INSERT INTO memory_shares (memory_id, agent_id, permission, place)
            SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::integer[])
        """
        session.later(sql, [list(column) for column in zip(*shares, strict=True)])


def _values_of(new: NewMemory) -> dict[str, Any]:
    memory = new.memory
    return {
        "agent_id": memory.agent_id,
        "namespace": memory.namespace,
        "content": memory.content,
        "content_hash": new.content_hash,
        "memory_type": memory.memory_type.value,
        "importance": memory.importance,
        "access_level": memory.access_level.value,
        "audience": [*audience_of(memory), ALL],
        "tags": memory.tags,
        "metadata": orjson.dumps(memory.metadata).decode(),
        "session_id": memory.session_id,
        "sequence": memory.sequence,
        "occurred_at": memory.occurred_at,
        "expires_at": memory.expires_at,
        "source": memory.source,
        "written_by": memory.written_by,
        "transport": memory.transport,
        "updated_at": memory.updated_at,
        "version": memory.version,
        "superseded_by": memory.superseded_by,
        "superseded_at": memory.superseded_at,
    }
