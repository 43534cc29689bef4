"""Tells which memories were changed or removed, for whoever keeps in memory what scopes hold."""

from tmws_adapters.migrations.runner import execute

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
usable_from = "0006"

STATEMENTS: dict[str, tuple[str, ...]] = {
    # There `document_numbers` counts the edits.
    "sqlite": (),
    "postgresql": (
        """
        CREATE TABLE memory_edits (
            document bigint PRIMARY KEY,
            xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
            edited_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """,
        "CREATE INDEX memory_edits_xid ON memory_edits (xid)",
        "CREATE INDEX memory_edits_edited_at ON memory_edits (edited_at)",
        """
        CREATE FUNCTION memories_v2_edited() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO memory_edits (document) VALUES (OLD.document)
            ON CONFLICT (document) DO UPDATE SET xid = excluded.xid, edited_at = excluded.edited_at;
            RETURN NULL;
        END
        $$
        """,
        # A vector that comes, or another model's, is told by its row in embeddings.
        """
        CREATE TRIGGER memories_v2_edited AFTER UPDATE ON memories_v2
        FOR EACH ROW WHEN (OLD.model IS NOT DISTINCT FROM NEW.model) EXECUTE FUNCTION memories_v2_edited()
        """,
        """
        CREATE TRIGGER memories_v2_removed AFTER DELETE ON memories_v2
        FOR EACH ROW EXECUTE FUNCTION memories_v2_edited()
        """,
    ),
}
"""What to execute, in order, by dialect."""

REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": (),
    "postgresql": (
        "DROP TRIGGER memories_v2_removed ON memories_v2",
        "DROP TRIGGER memories_v2_edited ON memories_v2",
        "DROP FUNCTION memories_v2_edited",
        "DROP TABLE memory_edits",
    ),
}
"""What undoes it."""


def upgrade() -> None:
    """Add the table and what fills it."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Remove both."""
    execute(REVERSED)
