"""Indexes the texts that wait for vectors by agent, so that agents take turns however many one has stored."""

from tmws_adapters.migrations.runner import execute, execute_last

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
usable_from = "0011"

_INDEX = (
    "CREATE INDEX memories_v2_waiting ON memories_v2 (agent_id, importance DESC, id DESC{more}) WHERE model IS NULL"
)
_FORMER_INDEX = "CREATE INDEX memories_v2_unembedded ON memories_v2 (importance DESC, id DESC) WHERE model IS NULL"
_DROP = "DROP INDEX memories_v2_unembedded"

STATEMENTS: dict[str, tuple[str, ...]] = {
    # How long they wait is read from the index here; the policies of PostgreSQL look at each row anyway.
    "sqlite": (_DROP, _INDEX.format(more=", updated_at")),
    "postgresql": (_INDEX.format(more=""),),
}
"""What to execute, in order, by dialect."""

LAST = (_DROP,)
"""What keeps readers of PostgreSQL waiting."""

REVERSED: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("sqlite", "postgresql"), ("DROP INDEX memories_v2_waiting", _FORMER_INDEX)
)
"""What undoes it."""


def upgrade() -> None:
    """Put the new index in the place of the former one."""
    execute(STATEMENTS)
    execute_last(LAST)


def downgrade() -> None:
    """Put the former index in its place again."""
    execute(REVERSED)
