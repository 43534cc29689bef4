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
    )
}
"""What to execute, in order, by dialect."""


def upgrade() -> None:
    """Add the counts."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Remove the counts."""
    execute({"sqlite": ("DROP TABLE memory_uses", "ALTER TABLE document_numbers DROP COLUMN edits")})
