"""Counts the changes that are more than additions, and how often memories are read."""

from tmws_adapters.migrations.runner import execute

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        # While `edits` stands still, memories have only been added, each with a number above the former `last`.
        "ALTER TABLE document_numbers ADD COLUMN edits INTEGER NOT NULL DEFAULT 0",
        """
        CREATE TABLE memory_uses (
            memory_id TEXT PRIMARY KEY REFERENCES memories_v2 (id) ON DELETE CASCADE,
            uses INTEGER NOT NULL,
            used_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
    ),
    # Nothing of what is here is kept in a process, so that edits need not be told from additions.
    "postgresql": (
        """
        CREATE TABLE memory_uses (
            memory_id text COLLATE "C" PRIMARY KEY,
            uses bigint NOT NULL,
            used_at timestamptz NOT NULL
        )
        """,
        """
        CREATE FUNCTION memories_v2_forget_uses() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM memory_uses WHERE memory_id IN (SELECT id FROM lost);
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER memories_v2_forget_uses AFTER DELETE ON memories_v2
        REFERENCING OLD TABLE AS lost FOR EACH STATEMENT EXECUTE FUNCTION memories_v2_forget_uses()
        """,
    ),
}
"""What to execute, in order, by dialect."""


REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": ("DROP TABLE memory_uses", "ALTER TABLE document_numbers DROP COLUMN edits"),
    "postgresql": (
        "DROP TRIGGER memories_v2_forget_uses ON memories_v2",
        "DROP FUNCTION memories_v2_forget_uses",
        "DROP TABLE memory_uses",
    ),
}
"""What undoes it."""


def upgrade() -> None:
    """Add the counts."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Remove the counts."""
    execute(REVERSED)
