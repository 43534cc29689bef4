"""Counts the changes that are more than additions, so that what is kept about a store can follow additions cheaply."""

from tmws_adapters.migrations.runner import execute

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        # While `edits` stands still, memories have only been added, each with a number above the former `last`.
        "ALTER TABLE document_numbers ADD COLUMN edits INTEGER NOT NULL DEFAULT 0",
    )
}
"""What to execute, in order, by dialect."""


def upgrade() -> None:
    """Add the count."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Remove the count."""
    execute({"sqlite": ("ALTER TABLE document_numbers DROP COLUMN edits",)})
