"""Finds what a database holds already of memories that are about to be stored."""

from collections.abc import Sequence

from tmws_adapters.postgres.locks import lock_owners
from tmws_adapters.postgres.readers import owned_by
from tmws_adapters.postgres.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.postgres.session import Session
from tmws_adapters.sql.known import BESIDE, SHARE, affordable
from tmws_core.domain.memory import Memory
from tmws_core.ports.storage import ALIKE, Fingerprint, Known, UsedKey

# What has no session, sequence or time is found by the index, too, which has something in their places. Behind
# row-level security an index serves only what cannot tell of a row that is not seen: of COALESCE nobody knows.
_KNOWN = f"""
    SELECT k.memory_id, k.request_hash, k.duplicate, t.ids, t.bytes
    FROM unnest(
        %(agents)s::text[], %(namespaces)s::text[], %(hashes)s::text[], %(sessions)s::text[], %(sequences)s::bigint[],
        %(occurred)s::text[]::timestamptz[], %(levels)s::text[], %(moments)s::timestamptz[], %(keys)s::text[]
    ) WITH ORDINALITY AS wanted (
        agent_id, namespace, content_hash, session_id, sequence, occurred_at, access_level, moment, key, place
    )
    LEFT JOIN idempotency_keys AS k ON k.agent_id = wanted.agent_id AND k.key = wanted.key
    LEFT JOIN LATERAL (
        SELECT array_agg(alike.id ORDER BY alike.id DESC) AS ids, array_agg(alike.bytes ORDER BY alike.id DESC) AS bytes
        FROM (
            SELECT m.id, {BESIDE} + octet_length(m.content) + octet_length(m.metadata)
                + {SHARE} * (SELECT count(*) FROM memory_shares AS share WHERE share.memory_id = m.id) AS bytes
            FROM memories_v2 AS m
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
    """Return what is stored of fingerprints, in order: one trip to the server, and another if that is anything.

    What is alike is looked for once for each identity: where one comes again, there is no hash to look for.
    """
    session.see(owned_by(each.identity.agent_id for each in fingerprints))
    session.finds_by_key()
    if session.writes:
        lock_owners(session, (each.identity.agent_id for each in fingerprints))
    identities = [each.identity for each in fingerprints]
    first = {(each.identity, each.at): place for place, each in reversed([*enumerate(fingerprints)])}
    places = [first[each.identity, each.at] for each in fingerprints]
    values = {
        "agents": [each.agent_id for each in identities],
        "namespaces": [each.namespace for each in identities],
        "hashes": [each.content_hash if places[place] == place else None for place, each in enumerate(identities)],
        "sessions": [each.session_id or "" for each in identities],
        "sequences": [-1 if each.sequence is None else each.sequence for each in identities],
        "occurred": [each.occurred_at.isoformat() if each.occurred_at else "-infinity" for each in identities],
        "levels": [each.access_level.value for each in identities],
        "moments": [each.at for each in fingerprints],
        "keys": [each.idempotency_key for each in fingerprints],
    }
    rows = await session.rows(_KNOWN, values)
    found = {place: [*zip(*rows[place][3:], strict=True)] for place in first.values() if rows[place][3]}
    taken = affordable(found.values())
    memories = await _memories(session, taken | {row[0] for row in rows if row[0]})
    alike = {
        place: tuple(memories[memory_id] for memory_id, _ in reversed(same) if memory_id in taken)
        for place, same in found.items()
    }
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
            alike=alike.get(place, ()),
        )
        for each, place, (keyed, request_hash, duplicate, *_) in zip(fingerprints, places, rows, strict=True)
    ]


async def _memories(session: Session, ids: set[str]) -> dict[str, Memory]:
    rows = await session.rows(_BY_ID, (sorted(ids),)) if ids else []
    return {memory.id: memory for memory in map(FORMS.memory, rows)}
