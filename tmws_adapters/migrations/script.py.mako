"""${message}."""

from tmws_adapters.migrations.runner import execute

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

STATEMENTS: dict[str, tuple[str, ...]] = {"sqlite": ()}
"""What to execute, in order, by dialect."""


def upgrade() -> None:
    """${message}."""
    execute(STATEMENTS)
