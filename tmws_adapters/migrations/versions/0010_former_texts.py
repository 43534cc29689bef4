"""Counts former texts among what agents own, so that a quota bounds what a change keeps, too.

On PostgreSQL it also removes what deleted memories have left: since 0006 their former texts, shares and uses were seen
by nobody once the memory was gone, not even by the trigger that removes them.
"""

from tmws_adapters.migrations.runner import execute, execute_last

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
usable_from = "0006"

_ALL_HISTORY = """
    UPDATE agent_belongings SET bytes = agent_belongings.bytes {sign} owned.bytes
    FROM (
        SELECT m.agent_id, sum({length}) AS bytes
        FROM memory_history AS h JOIN memories_v2 AS m ON m.id = h.memory_id GROUP BY 1
    ) AS owned
    WHERE agent_belongings.agent_id = owned.agent_id
"""
_SQLITE_LENGTH, _POSTGRES_LENGTH = "length(CAST(h.content AS BLOB))", "octet_length(h.content)"

_LEAVE = """
    CREATE OR REPLACE FUNCTION memories_v2_leave() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE audience text := current_setting('tmws.audience', true);
    BEGIN
        PERFORM set_config('tmws.audience', 'all:', true);
        {counted}
        DELETE FROM memory_shares WHERE memory_id IN (SELECT id FROM lost);
        DELETE FROM memory_history WHERE memory_id IN (SELECT id FROM lost);
        DELETE FROM embeddings WHERE document IN (SELECT document FROM lost);
        PERFORM set_config('tmws.audience', audience, true);
        RETURN NULL;
    END
    $$
"""
"""As 0006 made it, but for what is counted."""

_COUNTED = """
    UPDATE agent_belongings AS a SET bytes = a.bytes - gone.bytes
    FROM (
        SELECT l.agent_id, sum(octet_length(h.content)) AS bytes
        FROM lost AS l JOIN memory_history AS h ON h.memory_id = l.id GROUP BY 1
    ) AS gone
    WHERE a.agent_id = gone.agent_id;
"""

_BELONGING = ("memory_shares", "memory_uses", "memory_history")
"""In the order in which a reader comes to them."""
_SEEN = "EXISTS (SELECT FROM memories_v2 AS m WHERE m.id = memory_id)"
_SEEING = "SELECT set_config('tmws.audience', 'all:', true)"


def _policies(condition: str) -> tuple[str, ...]:
    return tuple(f"ALTER POLICY {table}_0 ON {table} USING ({condition})" for table in _BELONGING)


STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        _ALL_HISTORY.format(sign="+", length=_SQLITE_LENGTH),
        """
        CREATE TRIGGER memory_history_gained AFTER INSERT ON memory_history BEGIN
            UPDATE agent_belongings SET bytes = bytes + length(CAST(new.content AS BLOB))
            WHERE agent_id = (SELECT agent_id FROM memories_v2 WHERE id = new.memory_id);
        END
        """,
        # A memory takes its former texts along, and their own trigger then finds no memory to ask for its owner.
        """
        CREATE TRIGGER memory_history_lost AFTER DELETE ON memory_history BEGIN
            UPDATE agent_belongings SET bytes = bytes - length(CAST(old.content AS BLOB))
            WHERE agent_id = (SELECT agent_id FROM memories_v2 WHERE id = old.memory_id);
        END
        """,
        f"""
        CREATE TRIGGER memories_v2_leaving BEFORE DELETE ON memories_v2 BEGIN
            UPDATE agent_belongings SET bytes = bytes - (
                SELECT coalesce(sum({_SQLITE_LENGTH}), 0) FROM memory_history AS h WHERE h.memory_id = old.id
            )
            WHERE agent_id = old.agent_id;
        END
        """,  # noqa: S608 - the text is a constant
    ),
    "postgresql": (
        _SEEING,
        _ALL_HISTORY.format(sign="+", length=_POSTGRES_LENGTH),
        """
        CREATE FUNCTION memory_history_gained() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE agent_belongings AS a SET bytes = a.bytes + more.bytes
            FROM (
                SELECT m.agent_id, sum(octet_length(g.content)) AS bytes
                FROM gained AS g JOIN memories_v2 AS m ON m.id = g.memory_id GROUP BY 1
            ) AS more
            WHERE a.agent_id = more.agent_id;
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER memory_history_gained AFTER INSERT ON memory_history
        REFERENCING NEW TABLE AS gained FOR EACH STATEMENT EXECUTE FUNCTION memory_history_gained()
        """,
        """
        CREATE FUNCTION memory_history_lost() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE agent_belongings AS a SET bytes = a.bytes - less.bytes
            FROM (
                SELECT m.agent_id, sum(octet_length(l.content)) AS bytes
                FROM lost AS l JOIN memories_v2 AS m ON m.id = l.memory_id GROUP BY 1
            ) AS less
            WHERE a.agent_id = less.agent_id;
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER memory_history_lost AFTER DELETE ON memory_history
        REFERENCING OLD TABLE AS lost FOR EACH STATEMENT EXECUTE FUNCTION memory_history_lost()
        """,
        _LEAVE.format(counted=_COUNTED),
    ),
}
"""What to execute, in order, by dialect."""

LAST = (
    *_policies(f"current_setting('tmws.audience', true) = 'all:' OR {_SEEN}"),
    *(f"DELETE FROM {table} WHERE NOT {_SEEN}" for table in _BELONGING),  # noqa: S608 - texts are constants
)
"""What keeps readers of PostgreSQL waiting. What is removed had no owner, and was not counted."""

REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "DROP TRIGGER memories_v2_leaving",
        "DROP TRIGGER memory_history_lost",
        "DROP TRIGGER memory_history_gained",
        _ALL_HISTORY.format(sign="-", length=_SQLITE_LENGTH),
    ),
    "postgresql": (
        _SEEING,
        _LEAVE.format(counted=""),
        "DROP TRIGGER memory_history_lost ON memory_history",
        "DROP TRIGGER memory_history_gained ON memory_history",
        "DROP FUNCTION memory_history_lost",
        "DROP FUNCTION memory_history_gained",
        _ALL_HISTORY.format(sign="-", length=_POSTGRES_LENGTH),
        *_policies(_SEEN),
    ),
}
"""What undoes it."""


def upgrade() -> None:
    """Count what there is, and let triggers count what comes and goes."""
    execute(STATEMENTS)
    execute_last(LAST)


def downgrade() -> None:
    """Count present texts only."""
    execute(REVERSED)
