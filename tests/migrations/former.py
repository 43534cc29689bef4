"""What the versions of the first four revisions stored, row by row."""

from typing import Any

from tests.contracts.builders import vector
from tests.migrations.places import is_server, raw
from tmws_core.domain.audit import AuditRecord
from tmws_core.domain.chain import GENESIS, chained
from tmws_core.domain.memory import content_hash

ROSE = "018bcfe5-6801-7000-8000-000000000001"
TEXT, FORMER_TEXT = "The rose blooms in July.", "The rose blooms in June."
NORTH = vector(0, 1, 0, 0)
KEY = "00000000000000aa"
DAY, NEXT_DAY = "2026-01-30T00:00:00.000000Z", "2026-01-31T00:00:00.000000Z"
LOGGED = (NEXT_DAY, "memory.created", "ada", '{"memory_id":"1"}')

_MICROSECONDS = 1_769_817_600_000_000
"""NEXT_DAY, as SQLite has times."""

_HASH = content_hash(TEXT)

_FILE = (
    f"INSERT INTO agents (id, namespace, created_at) VALUES ('ada', 'acme', '{DAY}'), ('grace', 'globex', '{DAY}')",
    "INSERT INTO embedding_models (id, name, dimension, digest, active) VALUES (1, 'tests/four', 4, 'd1', 1)",
    "UPDATE document_numbers SET last = 2, changes = 2",
    f"""
    INSERT INTO memories_v2 (document, id, agent_id, namespace, access_level, memory_type, importance, session_id,
        sequence, created_at, updated_at, version, model, content_hash, written_by, transport, tags, metadata, content)
    VALUES (2, '{ROSE}', 'ada', 'acme', 'shared', 'semantic', 0.5, 's1', 1, {_MICROSECONDS}, {_MICROSECONDS}, 2, 1,
        '{_HASH}', 'ada', 'python', '["garden"]', '{{"mood":"glad"}}', '{TEXT}')
    """,
    f"INSERT INTO memory_shares (memory_id, agent_id, permission) VALUES ('{ROSE}', 'grace', 'read')",
    f"""
    INSERT INTO memory_history (memory_id, version, content, valid_from, valid_to, changed_by)
    VALUES ('{ROSE}', 1, '{FORMER_TEXT}', {_MICROSECONDS}, {_MICROSECONDS}, 'ada')
    """,
    f"INSERT INTO embeddings (document, model, vector) VALUES (2, 1, x'{NORTH.data.hex()}')",
    f"INSERT INTO idempotency_keys (agent_id, key, memory_id) VALUES ('ada', 'k1', '{ROSE}')",
    f"""
    INSERT INTO memories_fts (rowid, text, previous, before_previous, readers)
    VALUES (2, '{TEXT}', '', '', 'o4c5430176f4d n2b279375e234 sdd6271940a37')
    """,
)

_SERVER = (
    f"INSERT INTO agents (id, namespace, created_at) VALUES ('ada', 'acme', '{DAY}'), ('grace', 'globex', '{DAY}')",
    "INSERT INTO embedding_models (name, dimension, digest, active) VALUES ('tests/four', 4, 'd1', true)",
    "SELECT setval('documents', 2)",
    "UPDATE memory_changes SET changes = 2, documents = 1, tokens = 5 WHERE slot = 7",
    f"""
    INSERT INTO memories_v2 (document, id, agent_id, namespace, access_level, memory_type, importance, session_id,
        sequence, created_at, updated_at, version, model, content_hash, written_by, transport, tags, metadata, content,
        audience)
    VALUES (2, '{ROSE}', 'ada', 'acme', 'shared', 'semantic', 0.5, 's1', 1, '{NEXT_DAY}', '{NEXT_DAY}', 2, 1,
        '{_HASH}', 'ada', 'python', '{{garden}}', '{{"mood":"glad"}}', '{TEXT}', '{{agent:ada,agent:grace}}')
    """,
    f"INSERT INTO memory_shares (memory_id, agent_id, permission, place) VALUES ('{ROSE}', 'grace', 'read', 0)",
    f"""
    INSERT INTO memory_history (memory_id, version, content, valid_from, valid_to, changed_by)
    VALUES ('{ROSE}', 1, '{FORMER_TEXT}', '{NEXT_DAY}', '{NEXT_DAY}', 'ada')
    """,
    "INSERT INTO embeddings (document, model, vector) VALUES (2, 1, '[0,1,0,0]')",
    f"INSERT INTO idempotency_keys (agent_id, key, memory_id) VALUES ('ada', 'k1', '{ROSE}')",
    """
    INSERT INTO memory_words (document, words, counts, tokens, readers)
    VALUES (2, '{the,rose,bloom,in,juli}', '{1,1,1,1,1}', 5, '{agent:ada,agent:grace,owner:ada,namespace:acme}')
    """,
    """
    INSERT INTO memory_postings (document, frequency, tokens, word)
    SELECT 2, 6, 5, unnest('{the,rose,bloom,in,juli}'::text[])
    UNION ALL SELECT 2, 0, 5, unnest('{agent:ada,agent:grace,owner:ada,namespace:acme}'::text[])
    """,
)


def fill(place: str, revision: str) -> None:
    """Store what the version of this revision could store, in a database of that revision."""
    with raw(place) as connection:
        for statement in _SERVER if is_server(place) else _FILE:
            connection.execute(statement)
        if revision >= "0002":
            used = f"'{NEXT_DAY}'" if is_server(place) else str(_MICROSECONDS)
            connection.execute(f"INSERT INTO memory_uses (memory_id, uses, used_at) VALUES ('{ROSE}', 3, {used})")
        if revision >= "0003":
            canary = _bytes(place, NORTH.data)
            connection.execute(f"UPDATE embedding_models SET canary_text = 'a canary', canary_vector = {canary}")
        if revision >= "0004":
            _add_access(connection, place)
        else:
            connection.execute(f"INSERT INTO security_audit_logs ({_COLUMNS}) VALUES {LOGGED}")


_COLUMNS = "timestamp, event_type, agent_id, details"


def _add_access(connection: Any, place: str) -> None:
    active = "true" if is_server(place) else "1"
    connection.execute(f"UPDATE agents SET role = 'admin', active = {active}, display_name = 'Ada' WHERE id = 'ada'")
    connection.execute(
        f"""
        INSERT INTO api_keys (id, agent_id, digest, created_at)
        VALUES ('{KEY}', 'ada', {_bytes(place, bytes(32))}, '{DAY}')
        """
    )
    digest = _bytes(place, chained(GENESIS, AuditRecord(1, *LOGGED, hash=None)))
    values = ", ".join(f"'{text}'" for text in LOGGED)
    connection.execute(f"INSERT INTO security_audit_logs ({_COLUMNS}, hash) VALUES ({values}, {digest})")
    connection.execute(f"UPDATE audit_head SET last = 1, hash = {digest}")


def _bytes(place: str, data: bytes) -> str:
    return rf"'\x{data.hex()}'" if is_server(place) else f"x'{data.hex()}'"
