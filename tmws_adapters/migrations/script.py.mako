"""${message}."""

from tmws_adapters.migrations.runner import execute

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}
usable_from = ${repr(up_revision)}

STATEMENTS: dict[str, tuple[str, ...]] = {"sqlite": (), "postgresql": ()}
"""What to execute, in order, by dialect."""

REVERSED: dict[str, tuple[str, ...]] = {"sqlite": (), "postgresql": ()}
"""What undoes it."""


def upgrade() -> None:
    """${message}."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Undo it."""
    execute(REVERSED)
