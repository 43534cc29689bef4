"""Tells texts apart to the last space, indexes what else makes memories the same, and remembers what keys stood for."""

import hashlib
from collections.abc import Callable

from alembic import op
from sqlalchemy import text

from tmws_adapters.migrations.runner import execute, execute_last

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
usable_from = "0006"

BATCH = 1000
"""Memories that are read at once: at most 64 MB of texts."""

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "ALTER TABLE idempotency_keys ADD COLUMN request_hash TEXT",
        "ALTER TABLE idempotency_keys ADD COLUMN duplicate INTEGER NOT NULL DEFAULT 0 CHECK (duplicate IN (0, 1))",
        "DELETE FROM idempotency_keys WHERE memory_id NOT IN (SELECT id FROM memories_v2)",
        "CREATE INDEX idempotency_keys_memory ON idempotency_keys (memory_id)",
        "DROP INDEX memories_v2_text",
        """
        CREATE INDEX memories_v2_text ON memories_v2 (
            agent_id, namespace, content_hash, session_id, sequence, occurred_at, id
        )
        WHERE superseded_at IS NULL
        """,
    ),
    "postgresql": (
        "ALTER TABLE idempotency_keys ADD COLUMN request_hash text",
        "ALTER TABLE idempotency_keys ADD COLUMN duplicate boolean NOT NULL DEFAULT false",
        """
        DELETE FROM idempotency_keys AS k WHERE NOT EXISTS (SELECT FROM memories_v2 AS m WHERE m.id = k.memory_id)
        """,
        "CREATE INDEX idempotency_keys_memory ON idempotency_keys (memory_id)",
        # Nothing is equal to NULL, and no index finds what is not distinct from it, or behind row-level security a
        # COALESCE.
        """
        CREATE INDEX memories_v2_text_next ON memories_v2 (
            agent_id, namespace, content_hash,
            (CASE WHEN session_id IS NULL THEN '' ELSE session_id END),
            (CASE WHEN sequence IS NULL THEN -1 ELSE sequence END),
            (CASE WHEN occurred_at IS NULL THEN '-infinity' ELSE occurred_at END), id
        )
        WHERE superseded_at IS NULL
        """,
    ),
}
"""What to execute, in order, by dialect."""

LAST = ("DROP INDEX memories_v2_text", "ALTER INDEX memories_v2_text_next RENAME TO memories_v2_text")
"""What keeps readers of PostgreSQL waiting."""

_FORMER_INDEX = (
    "DROP INDEX memories_v2_text",
    """
    CREATE INDEX memories_v2_text ON memories_v2 (agent_id, namespace, content_hash, id)
    WHERE superseded_at IS NULL
    """,
    "DROP INDEX idempotency_keys_memory",
    "ALTER TABLE idempotency_keys DROP COLUMN duplicate",
    "ALTER TABLE idempotency_keys DROP COLUMN request_hash",
)
REVERSED: dict[str, tuple[str, ...]] = {"sqlite": _FORMER_INDEX, "postgresql": _FORMER_INDEX}
"""What undoes it."""


def upgrade() -> None:
    """Hash the texts as they are, and change the tables."""
    _see_all()
    _hash_again(lambda content: content)
    execute(STATEMENTS)
    execute_last(LAST)


def downgrade() -> None:
    """Hash the texts with their white space folded, and change the tables back."""
    _see_all()
    execute(REVERSED)
    _hash_again(lambda content: " ".join(content.split()))


def _see_all() -> None:
    """Let what follows see every row behind row-level security."""
    execute({"sqlite": (), "postgresql": ("SELECT set_config('tmws.audience', 'all:', true)",)})


def _hash_again(form: Callable[[str], str]) -> None:
    """Hash each text in a form of it; a row that has that hash stays as it is."""
    connection, last = op.get_bind(), -1
    page = text(
        "SELECT document, content, content_hash FROM memories_v2 WHERE document > :last ORDER BY document LIMIT :some"
    )
    change = text("UPDATE memories_v2 SET content_hash = :hash WHERE document = :document")
    while rows := connection.execute(page, {"last": last, "some": BATCH}).all():
        hashes = [(document, hashlib.sha256(form(content).encode()).hexdigest()) for document, content, _ in rows]
        changed = [
            {"document": document, "hash": digest}
            for (document, digest), (_, _, former) in zip(hashes, rows, strict=True)
            if digest != former
        ]
        if changed:
            connection.execute(change, changed)
        last = rows[-1][0]
