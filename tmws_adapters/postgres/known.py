"""Finds what a database holds already of memories that are about to be stored."""

from collections.abc import Sequence

from tmws_adapters.postgres.locks import lock_owners
from tmws_adapters.postgres.readers import owned_by
from tmws_adapters.postgres.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.postgres.session import Session
from tmws_core.domain.memory import Memory
from tmws_core.ports.storage import ALIKE, Fingerprint, Known, UsedKey

# What has no session, sequence or time is found by the index, too, which has something in their places. Behind
# row-level security an index serves only what cannot tell of a row that is not seen: of COALESCE nobody knows.
_KNOWN = f"""
    SELECT k.memory_id, k.request_hash, k.duplicate, t.ids
    FROM unnest(
        %(agents)s::text[], %(namespaces)s::text[], %(hashes)s::text[], %(sessions)s::text[], %(sequences)s::bigint[],
        %(occurred)s::text[]::timestamptz[], %(levels)s::text[], %(moments)s::timestamptz[], %(keys)s::text[]
    ) WITH ORDINALITY AS wanted (
        agent_id, namespace, content_hash, session_id, sequence, occurred_at, access_level, moment, key, place
    )
    LEFT JOIN idempotency_keys AS k ON k.agent_id = wanted.agent_id AND k.key = wanted.key
    LEFT JOIN LATERAL (
        SELECT array_agg(alike.id ORDER BY alike.id) AS ids FROM (
            SELECT m.id FROM memories_v2 AS m
            WHERE m.agent_id = wanted.agent_id AND m.namespace = wanted.namespace
                AND m.content_hash = wanted.content_hash
                AND CASE WHEN m.session_id IS NULL THEN '' ELSE m.session_id END = wanted.session_id
                AND CASE WHEN m.sequence IS NULL THEN -1 ELSE m.sequence END = wanted.sequence
                AND CASE WHEN m.occurred_at IS NULL THEN '-infinity' ELSE m.occurred_at END = wanted.occurred_at
                AND m.access_level = wanted.access_level AND m.superseded_at IS NULL
                AND (m.expires_at IS NULL OR m.expires_at > wanted.moment)
            ORDER BY m.id DESC LIMIT {ALIKE}
        ) AS alike
    ) AS t ON TRUE
    ORDER BY wanted.place
"""  # noqa: S608 - a number is written into it

_BY_ID = f"{SELECT_MEMORIES} WHERE m.id = ANY(%s::text[])"


async def known(session: Session, fingerprints: Sequence[Fingerprint]) -> list[Known]:
    """Return what is stored of fingerprints, in order: one trip to the server, and another if that is anything."""
    session.see(owned_by(each.identity.agent_id for each in fingerprints))
    session.finds_by_key()
    if session.writes:
        lock_owners(session, (each.identity.agent_id for each in fingerprints))
    identities = [each.identity for each in fingerprints]
    values = {
        "agents": [each.agent_id for each in identities],
        "namespaces": [each.namespace for each in identities],
        "hashes": [each.content_hash for each in identities],
        "sessions": [each.session_id or "" for each in identities],
        "sequences": [-1 if each.sequence is None else each.sequence for each in identities],
        "occurred": [each.occurred_at.isoformat() if each.occurred_at else "-infinity" for each in identities],
        "levels": [each.access_level.value for each in identities],
        "moments": [each.at for each in fingerprints],
        "keys": [each.idempotency_key for each in fingerprints],
    }
    rows = await session.rows(_KNOWN, values)
    memories = await _memories(session, {each for row in rows for each in (row[0], *(row[3] or ())) if each})
    return [
        Known(
            used=UsedKey(
                agent_id=each.identity.agent_id,
                key=each.idempotency_key,
                memory_id=keyed,
                request_hash=request_hash,
                duplicate=duplicate,
            )
            if keyed in memories and each.idempotency_key is not None
            else None,
            keyed=memories.get(keyed),
            alike=tuple(memories[memory_id] for memory_id in alike or ()),
        )
        for each, (keyed, request_hash, duplicate, alike) in zip(fingerprints, rows, strict=True)
    ]


async def _memories(session: Session, ids: set[str]) -> dict[str, Memory]:
    rows = await session.rows(_BY_ID, (sorted(ids),)) if ids else []
    return {memory.id: memory for memory in map(FORMS.memory, rows)}
