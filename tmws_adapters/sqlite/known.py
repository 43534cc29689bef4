"""Finds what a file holds already of memories that are about to be stored."""

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime

import orjson

from tmws_adapters.sql.known import BESIDE, SHARE, affordable
from tmws_adapters.sqlite.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.sqlite.times import microseconds, optional_microseconds
from tmws_core.domain.memory import Identity, Memory
from tmws_core.ports.storage import ALIKE, Fingerprint, Known, UsedKey

_BY_KEY = "SELECT memory_id, request_hash, duplicate FROM idempotency_keys WHERE agent_id = ? AND key = ?"
_BY_ID = f"{SELECT_MEMORIES} JOIN json_each(?) AS wanted ON m.id = wanted.value"
_ALIKE = f"""
    SELECT m.id, {BESIDE} + length(CAST(m.content AS BLOB)) + length(CAST(m.metadata AS BLOB))
        + {SHARE} * (SELECT count(*) FROM memory_shares WHERE memory_id = m.id)
    FROM memories_v2 AS m
    WHERE m.agent_id = ? AND m.namespace = ? AND m.content_hash = ? AND m.session_id IS ? AND m.sequence IS ?
        AND m.occurred_at IS ? AND m.access_level = ? AND m.superseded_at IS NULL
        AND (m.expires_at IS NULL OR m.expires_at > ?)
    ORDER BY m.id DESC LIMIT {ALIKE}
"""  # noqa: S608 - numbers are written into it, values are bound


def known(connection: sqlite3.Connection, fingerprints: Sequence[Fingerprint]) -> list[Known]:
    """Return what is stored of fingerprints, in order; each memory is read once, whatever it is known by."""
    identities = dict.fromkeys((each.identity, each.at) for each in fingerprints)
    found = {each: _alike(connection, *each) for each in identities}
    keys = [_used(connection, each) for each in fingerprints]
    taken = affordable(found.values())
    memories = _memories(connection, taken | {each.memory_id for each in keys if each is not None})
    alike = {
        each: tuple(memories[memory_id] for memory_id, _ in reversed(same) if memory_id in taken)
        for each, same in found.items()
    }
    return [
        Known(
            used=None if used is None or used.memory_id not in memories else used,
            keyed=None if used is None else memories.get(used.memory_id),
            alike=alike[each.identity, each.at],
        )
        for each, used in zip(fingerprints, keys, strict=True)
    ]


def _alike(connection: sqlite3.Connection, identity: Identity, at: datetime) -> list[tuple[str, int]]:
    """Return the ids and the bytes of the memories in force with an identity, newest first."""
    values = (
        identity.agent_id,
        identity.namespace,
        identity.content_hash,
        identity.session_id,
        identity.sequence,
        optional_microseconds(identity.occurred_at),
        identity.access_level.value,
        microseconds(at),
    )
    return connection.execute(_ALIKE, values).fetchall()


def _used(connection: sqlite3.Connection, fingerprint: Fingerprint) -> UsedKey | None:
    """Return what a key was used for, whether that is still there or not."""
    agent_id, key = fingerprint.identity.agent_id, fingerprint.idempotency_key
    row = None if key is None else connection.execute(_BY_KEY, (agent_id, key)).fetchone()
    if key is None or row is None:
        return None
    memory_id, request_hash, duplicate = row
    return UsedKey(
        agent_id=agent_id, key=key, memory_id=memory_id, request_hash=request_hash, duplicate=bool(duplicate)
    )


def _memories(connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, Memory]:
    rows = connection.execute(_BY_ID, (orjson.dumps(sorted(ids)).decode(),)) if ids else []
    return {memory.id: memory for memory in map(FORMS.memory, rows)}
