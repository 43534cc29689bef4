"""Finds what a memory has replaced, which deleting it brings back."""

from tmws_adapters.migrations.runner import execute

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
usable_from = "0006"

_INDEX = "CREATE INDEX memories_v2_successor ON memories_v2 (superseded_by) WHERE superseded_by IS NOT NULL"

STATEMENTS: dict[str, tuple[str, ...]] = {"sqlite": (_INDEX,), "postgresql": (_INDEX,)}
"""What to execute, in order, by dialect."""

_DROP = "DROP INDEX memories_v2_successor"

REVERSED: dict[str, tuple[str, ...]] = {"sqlite": (_DROP,), "postgresql": (_DROP,)}
"""What undoes it."""


def upgrade() -> None:
    """Build the index."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Remove it."""
    execute(REVERSED)
