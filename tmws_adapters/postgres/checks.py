"""What the store says of its own state."""

from tmws_adapters.postgres.errors import PART
from tmws_adapters.postgres.readers import ALL
from tmws_adapters.postgres.session import Session
from tmws_core.ports.health import Caution, Flaw, StorageHealth

_WORDS = {
    "memories without a lexical entry": """
        SELECT count(*) FROM memories_v2 AS m
        WHERE NOT EXISTS (SELECT 1 FROM memory_words AS entry WHERE entry.document = m.document)
    """,
    "lexical entries without a memory": """
        SELECT count(*) FROM memory_words AS entry
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.document = entry.document)
    """,
    "lexical entries whose words are not found": """
        SELECT count(*) FROM memory_words AS entry FULL JOIN (
            SELECT document, count(*) AS words FROM memory_postings GROUP BY 1
        ) AS p ON p.document = entry.document
        WHERE coalesce(cardinality(entry.words) + cardinality(entry.readers), 0) <> coalesce(p.words, 0)
    """,
    "wrong counts of the lexical index": """
        SELECT count(*) FROM
            (SELECT sum(documents) AS documents, sum(tokens) AS tokens FROM memory_changes) AS counted,
            (SELECT count(*) AS documents, coalesce(sum(tokens), 0) AS tokens FROM memory_words) AS held
        WHERE (counted.documents, counted.tokens) <> (held.documents, held.tokens)
    """,
}
"""What the lexical index says and the memories do not, with the query that counts it."""

_SIDES = {
    "memories whose vector is missing": """
        SELECT count(*) FROM memories_v2 AS m
        WHERE m.model IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM embeddings AS e WHERE e.document = m.document AND e.model = m.model
        )
    """,
    "vectors without a memory": """
        SELECT count(*) FROM embeddings AS e
        WHERE NOT EXISTS (
            SELECT 1 FROM memories_v2 AS m WHERE m.document = e.document AND (
                m.model = e.model OR NOT EXISTS (SELECT 1 FROM embedding_models WHERE id = e.model AND active)
            )
        )
    """,
    "shares without a memory": """
        SELECT count(*) FROM memory_shares AS s
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.id = s.memory_id)
    """,
    "former texts without a memory": """
        SELECT count(*) FROM memory_history AS h
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.id = h.memory_id)
    """,
    "uses without a memory": """
        SELECT count(*) FROM memory_uses AS u
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.id = u.memory_id)
    """,
    "ids or numbers that two memories have": """
        SELECT count(*) - least(count(DISTINCT id), count(DISTINCT document)) FROM memories_v2
    """,
    "agents whose belongings are miscounted": """
        SELECT count(*) FROM agent_belongings AS a FULL JOIN (
            SELECT agent_id, count(*) AS memories, sum(octet_length(content) + octet_length(metadata) + coalesce(
                (SELECT sum(octet_length(h.content)) FROM memory_history AS h WHERE h.memory_id = memories_v2.id), 0
            )) AS bytes
            FROM memories_v2 GROUP BY 1
        ) AS m ON m.agent_id = a.agent_id
        WHERE (coalesce(a.memories, 0), coalesce(a.bytes, 0)) <> (coalesce(m.memories, 0), coalesce(m.bytes, 0))
    """,
}
"""What one table says and another does not, with the query that counts it."""

UNKNOWN_SPACE = 2**62
"""Said where the server's disk cannot be seen: no threshold is ever below it."""

UNWALLED = Caution(
    "the role of TMWS_DATABASE_URL is a superuser or has BYPASSRLS, so row-level security does not hold for it",
    "Let TMWS work as an ordinary role that owns the database: CREATE ROLE tmws LOGIN PASSWORD '…'",
)


async def health(session: Session) -> StorageHealth:
    """Read the store's version and counts."""
    session.see([ALL])
    ((version, memories, unembedded, since, size, passes),) = await session.rows(
        """
        SELECT (SELECT version_num FROM alembic_version),
            (SELECT coalesce(sum(memories), 0)::bigint FROM agent_belongings),
            waiting.*, pg_database_size(current_database()),
            (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
        FROM (SELECT count(*), min(updated_at) FROM memories_v2 WHERE model IS NULL) AS waiting
        """
    )
    return StorageHealth(
        kind=PART,
        version=version,
        memories=memories,
        unembedded=unembedded,
        waiting_since=since,
        bytes_on_disk=size,
        bytes_free=UNKNOWN_SPACE,
        caution=UNWALLED if passes else None,
    )


async def integrity(session: Session) -> list[Flaw]:
    """Return what is wrong with the references and indexes of the database."""
    session.see([ALL])
    flaws = []
    for description, sql in (_WORDS | _SIDES).items():
        ((count,),) = await session.rows(sql)
        if count:
            flaws.append(Flaw(f"{count} {description}", derived=description in _WORDS))
    return flaws
