"""Finds what a file holds already of a memory that is about to be stored."""

import sqlite3
from typing import Any

from tmws_adapters.sqlite.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.sqlite.times import microseconds, optional_microseconds
from tmws_core.ports.storage import ALIKE, Fingerprint, Known, UsedKey

_BY_KEY = "SELECT memory_id, request_hash, duplicate FROM idempotency_keys WHERE agent_id = ? AND key = ?"
_BY_ID = f"{SELECT_MEMORIES} WHERE m.id = ?"
_ALIKE = f"""
    {SELECT_MEMORIES}
    WHERE m.agent_id = ? AND m.namespace = ? AND m.content_hash = ? AND m.session_id IS ? AND m.sequence IS ?
        AND m.occurred_at IS ? AND m.access_level = ? AND m.superseded_at IS NULL
        AND (m.expires_at IS NULL OR m.expires_at > ?)
    ORDER BY m.id DESC LIMIT {ALIKE}
"""


def known(connection: sqlite3.Connection, fingerprint: Fingerprint) -> Known:
    """Return what is stored of a fingerprint."""
    identity = fingerprint.identity
    values = (
        identity.agent_id,
        identity.namespace,
        identity.content_hash,
        identity.session_id,
        identity.sequence,
        optional_microseconds(identity.occurred_at),
        identity.access_level.value,
        microseconds(fingerprint.at),
    )
    alike = [FORMS.memory(row) for row in connection.execute(_ALIKE, values)]
    return Known(alike=tuple(reversed(alike)), **_keyed(connection, fingerprint))


def _keyed(connection: sqlite3.Connection, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return what a key was used for, if that is there."""
    agent_id, key = fingerprint.identity.agent_id, fingerprint.idempotency_key
    row = None if key is None else connection.execute(_BY_KEY, (agent_id, key)).fetchone()
    memory = None if row is None else connection.execute(_BY_ID, row[:1]).fetchone()
    if key is None or row is None or memory is None:
        return {}
    memory_id, request_hash, duplicate = row
    used = UsedKey(
        agent_id=agent_id, key=key, memory_id=memory_id, request_hash=request_hash, duplicate=bool(duplicate)
    )
    return {"used": used, "keyed": FORMS.memory(memory)}
