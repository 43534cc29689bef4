"""Rows of memories_v2 as memories, and memories as rows."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson

from tmws_adapters.sqlite.times import microseconds, moment, optional_microseconds, optional_moment
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType, Share, SharePermission
from tmws_core.ports.storage import NewMemory

Row = tuple[Any, ...]

SELECT_MEMORIES = """
    SELECT m.id, m.document, m.agent_id, m.namespace, m.content, m.memory_type, m.importance, m.access_level,
        m.tags, m.metadata, m.session_id, m.sequence, m.occurred_at, m.expires_at, m.source, m.written_by,
        m.transport, m.created_at, m.updated_at, m.version, m.superseded_by, m.superseded_at,
        m.model IS NOT NULL,
        CASE WHEN EXISTS (SELECT 1 FROM memory_shares WHERE memory_id = m.id) THEN (
            SELECT json_group_array(json_array(share.agent_id, share.permission)) FROM (
                SELECT agent_id, permission FROM memory_shares WHERE memory_id = m.id ORDER BY rowid
            ) AS share
        ) ELSE '[]' END
    FROM memories_v2 AS m
"""
"""The beginning of every query for whole memories; `memory_of` reads its rows."""

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


def memory_of(row: Row) -> Memory:
    """Return the memory of a row that SELECT_MEMORIES found."""
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
        shared_with=tuple(_shares(shares)),
        tags=tuple(orjson.loads(tags)),
        metadata=orjson.loads(metadata),
        session_id=session_id,
        sequence=sequence,
        occurred_at=optional_moment(occurred_at),
        expires_at=optional_moment(expires_at),
        source=source,
        written_by=written_by,
        transport=transport,
        created_at=moment(created_at),
        updated_at=moment(updated_at),
        version=version,
        superseded_by=superseded_by,
        superseded_at=optional_moment(superseded_at),
        embedded=bool(embedded),
    )


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


def _shares(text: str) -> Iterator[Share]:
    if text != "[]":
        for agent_id, permission in orjson.loads(text):
            yield Share(agent_id, SharePermission(permission))
