"""Rows of memories_v2 as memories, and memories as rows."""

import sqlite3

import orjson

from tmws_adapters.sql.memories import Forms, Row
from tmws_adapters.sqlite.times import microseconds, moment, optional_microseconds
from tmws_core.domain.memory import Memory
from tmws_core.ports.storage import NewMemory

SELECT_MEMORIES = """
    SELECT m.id, m.document, m.agent_id, m.namespace, m.content, m.memory_type, m.importance, m.access_level,
        m.tags, m.metadata, m.session_id, m.sequence, m.occurred_at, m.expires_at, m.source, m.written_by,
        m.transport, m.created_at, m.updated_at, m.version, m.superseded_by, m.superseded_at,
        m.model IS NOT NULL,
        CASE WHEN EXISTS (SELECT 1 FROM memory_shares WHERE memory_id = m.id) THEN (
            SELECT json_group_array(json_array(share.agent_id, share.permission)) FROM (
                SELECT agent_id, permission FROM memory_shares WHERE memory_id = m.id ORDER BY rowid
            ) AS share
        ) END
    FROM memories_v2 AS m
"""
"""The beginning of every query for whole memories; `FORMS.memory` reads its rows."""

WRITTEN_COLUMNS = (
    "id",
    "agent_id",
    "namespace",
    "content",
    "content_hash",
    "memory_type",
    "importance",
    "access_level",
    "tags",
    "metadata",
    "session_id",
    "sequence",
    "occurred_at",
    "expires_at",
    "source",
    "written_by",
    "transport",
    "created_at",
    "updated_at",
    "version",
    "superseded_by",
    "superseded_at",
)
"""The columns of memories_v2 that come from the memory; the store assigns `document` and `model`."""


FORMS = Forms(time=moment, items=orjson.loads)


def values_of(new: NewMemory) -> Row:
    """Return the values of WRITTEN_COLUMNS, in their order."""
    memory = new.memory
    return (
        memory.id,
        memory.agent_id,
        memory.namespace,
        memory.content,
        new.content_hash,
        memory.memory_type.value,
        memory.importance,
        memory.access_level.value,
        orjson.dumps(memory.tags).decode(),
        orjson.dumps(memory.metadata).decode(),
        memory.session_id,
        memory.sequence,
        optional_microseconds(memory.occurred_at),
        optional_microseconds(memory.expires_at),
        memory.source,
        memory.written_by,
        memory.transport,
        microseconds(memory.created_at),
        microseconds(memory.updated_at),
        memory.version,
        memory.superseded_by,
        optional_microseconds(memory.superseded_at),
    )


def insert_shares(connection: sqlite3.Connection, memory: Memory) -> None:
    """Write the shares of a memory that has none stored."""
    connection.executemany(
        "INSERT INTO memory_shares (memory_id, agent_id, permission) VALUES (?, ?, ?)",
        [(memory.id, share.agent_id, share.permission.value) for share in memory.shared_with],
    )
