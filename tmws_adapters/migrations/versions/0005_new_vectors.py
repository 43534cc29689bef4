"""Tells which vectors are new, for whoever keeps them in memory."""

from tmws_adapters.migrations.runner import execute

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (),
    "postgresql": (
        # The transaction that wrote the row: 0 for those that are here already, which needs no writing of the table.
        "ALTER TABLE embeddings ADD COLUMN xid xid8 NOT NULL DEFAULT '0'",
        "ALTER TABLE embeddings ALTER COLUMN xid SET DEFAULT pg_current_xact_id()",
        "CREATE INDEX embeddings_xid ON embeddings (xid)",
    ),
}
"""What to execute, in order, by dialect."""

REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": (),
    "postgresql": ("ALTER TABLE embeddings DROP COLUMN xid",),
}
"""What undoes it."""


def upgrade() -> None:
    """Apply the statements of the dialect."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Undo them."""
    execute(REVERSED)
