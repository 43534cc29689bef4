"""Keeps of each model what its cosines mean: their means between related and unrelated texts."""

from tmws_adapters.migrations.runner import execute, execute_last

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
usable_from = "0011"

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "ALTER TABLE embedding_models ADD COLUMN unrelated REAL",
        "ALTER TABLE embedding_models ADD COLUMN related REAL",
    ),
    "postgresql": (),
}
"""What to execute, in order, by dialect."""

LAST = ("ALTER TABLE embedding_models ADD COLUMN unrelated double precision, ADD COLUMN related double precision",)
"""What keeps readers of PostgreSQL waiting."""

REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "ALTER TABLE embedding_models DROP COLUMN related",
        "ALTER TABLE embedding_models DROP COLUMN unrelated",
    ),
    "postgresql": ("ALTER TABLE embedding_models DROP COLUMN related, DROP COLUMN unrelated",),
}
"""What undoes it."""


def upgrade() -> None:
    """Add the columns."""
    execute(STATEMENTS)
    execute_last(LAST)


def downgrade() -> None:
    """Remove the columns."""
    execute(REVERSED)
