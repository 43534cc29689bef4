"""Lets turns of a session that have been replaced, or end at another time, lend their words to no other.

Every writer must do so from here on, so that no version before may use the schema.
"""

from tmws_adapters.migrations.runner import execute, execute_last

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEX = """
    CREATE INDEX {name} ON memories_v2 (
        session_id, agent_id, namespace, access_level, {end}, sequence, document
    )
    WHERE session_id IS NOT NULL AND sequence IS NOT NULL AND access_level <> 'shared' AND superseded_at IS NULL
"""
_FORMER_INDEX = """
    CREATE INDEX memories_v2_turns ON memories_v2 (
        session_id, agent_id, namespace, access_level, sequence, document
    )
    WHERE session_id IS NOT NULL AND sequence IS NOT NULL AND access_level <> 'shared'
"""
_DROP = "DROP INDEX memories_v2_turns"

_TURNS = """
    SELECT document, lag(document) OVER turns AS previous, lag(document, 2) OVER turns AS before_previous
    FROM memories_v2
    WHERE sequence IS NOT NULL AND access_level <> 'shared' AND session_id IN (
        SELECT session_id FROM memories_v2 WHERE superseded_at IS NOT NULL OR expires_at IS NOT NULL
    )
    WINDOW turns AS (
        PARTITION BY session_id, agent_id, namespace, access_level, expires_at,
            CASE WHEN superseded_at IS NOT NULL THEN document END
        ORDER BY sequence, document
    )
"""
"""The turns of the sessions in which one ends, each with the two turns before it that lend it their words."""

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        _DROP,
        _INDEX.format(name="memories_v2_turns", end="expires_at"),
        f"CREATE TEMP TABLE turns_0011 AS {_TURNS}",
        """
        UPDATE memories_fts SET previous = lent.previous, before_previous = lent.before_previous
        FROM (
            SELECT t.document,
                coalesce((SELECT text FROM memories_fts WHERE rowid = t.previous), '') AS previous,
                coalesce((SELECT text FROM memories_fts WHERE rowid = t.before_previous), '') AS before_previous
            FROM turns_0011 AS t
        ) AS lent
        WHERE memories_fts.rowid = lent.document
        """,
        "DROP TABLE temp.turns_0011",
    ),
    "postgresql": (
        "SELECT set_config('tmws.audience', 'all:', true)",
        # Nothing is equal to NULL, and no index finds what is not distinct from it.
        _INDEX.format(
            name="memories_v2_turns_next", end="(CASE WHEN expires_at IS NULL THEN 'infinity' ELSE expires_at END)"
        ),
        f"CREATE TEMP TABLE turns_0011 ON COMMIT DROP AS {_TURNS}",
        # In halves, and no more than a posting holds: three for a word of its own, one and a half for the others.
        """
        CREATE TEMP TABLE entries_0011 ON COMMIT DROP AS
        WITH own AS (
            SELECT w.document, said.word, said.count
            FROM turns_0011 AS t JOIN memory_words AS w ON w.document = t.document
            CROSS JOIN LATERAL unnest(w.words, w.counts) AS said (word, count) WHERE said.count > 0
        ), sources AS (
            SELECT document, document AS source, 6 AS weight FROM turns_0011
            UNION ALL SELECT document, previous, 2 FROM turns_0011
            UNION ALL SELECT document, before_previous, 1 FROM turns_0011
        )
        SELECT s.document, own.word, sum(own.count * s.weight) AS weight, sum(own.count) AS tokens,
            coalesce(sum(own.count) FILTER (WHERE s.source = s.document), 0) AS count
        FROM sources AS s JOIN own ON own.document = s.source GROUP BY 1, 2
        """,
        "DELETE FROM memory_postings WHERE document IN (SELECT document FROM turns_0011)",
        """
        CREATE TEMP TABLE lengths_0011 ON COMMIT DROP AS
        SELECT t.document, coalesce(sum(e.tokens), 0)::integer AS tokens,
            coalesce(array_agg(e.word) FILTER (WHERE e.word IS NOT NULL), '{}') AS words,
            coalesce(array_agg(e.count::integer) FILTER (WHERE e.word IS NOT NULL), '{}') AS counts
        FROM turns_0011 AS t LEFT JOIN entries_0011 AS e ON e.document = t.document GROUP BY 1
        """,
        """
        UPDATE memory_changes SET tokens = tokens + (
            SELECT coalesce(sum(l.tokens - w.tokens), 0)
            FROM lengths_0011 AS l JOIN memory_words AS w ON w.document = l.document
        )
        WHERE slot = (SELECT min(slot) FROM memory_changes)
        """,
        """
        UPDATE memory_words AS w SET words = l.words, counts = l.counts, tokens = l.tokens
        FROM lengths_0011 AS l WHERE w.document = l.document
        """,
        """
        INSERT INTO memory_postings (document, frequency, tokens, word)
        SELECT e.document, least(e.weight, 32767), least(l.tokens, 32767), e.word
        FROM entries_0011 AS e JOIN lengths_0011 AS l ON l.document = e.document
        UNION ALL
        SELECT l.document, 0, least(l.tokens, 32767), reader
        FROM lengths_0011 AS l JOIN memory_words AS w ON w.document = l.document
        CROSS JOIN LATERAL unnest(w.readers) AS reader
        """,
    ),
}
"""What to execute, in order, by dialect."""

LAST = (_DROP, "ALTER INDEX memories_v2_turns_next RENAME TO memories_v2_turns")
"""What keeps readers of PostgreSQL waiting."""

REVERSED: dict[str, tuple[str, ...]] = dict.fromkeys(("sqlite", "postgresql"), (_DROP, _FORMER_INDEX))
"""What undoes it; entries have the words of the turns before them again as sessions are written to."""


def upgrade() -> None:
    """Index turns by their end, and write anew the entries of sessions in which one ends."""
    execute(STATEMENTS)
    execute_last(LAST)


def downgrade() -> None:
    """Index turns as before."""
    execute(REVERSED)
