"""Row-level security: a statement sees what its transaction has said that it may see, even if it asks for more.

`tmws.audience` holds the words of who reads, a line each, as `memories_v2.audience` has them; who has said nothing sees
nothing. Every memory has the word `all:`, by which the program itself reads.
"""

from tmws_adapters.migrations.runner import execute

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_WORDS = "string_to_array(current_setting('tmws.audience', true), E'\\n')"
_ALL = "current_setting('tmws.audience', true) = 'all:'"
_OWNED = f"ARRAY['agent:' || agent_id, 'all:'] && {_WORDS}"
_SEEN = "EXISTS (SELECT FROM memories_v2 AS m WHERE m.id = memory_id)"

POLICIES = {
    # Whoever reads a memory does not change it: that takes the word of its owner. One condition without an OR, or the
    # planner could not use the index over `audience`.
    "memories_v2": (
        f"FOR SELECT USING (audience && {_WORDS})",
        f"FOR INSERT WITH CHECK ({_OWNED})",
        f"FOR UPDATE USING ({_OWNED}) WITH CHECK ({_OWNED})",
        f"FOR DELETE USING ({_OWNED})",
    ),
    "memory_history": (f"USING ({_SEEN})",),
    "memory_shares": (f"USING ({_SEEN})",),
    "memory_uses": (f"USING ({_SEEN})",),
    "memory_words": (f"USING ({_ALL} OR readers && {_WORDS})",),
    "idempotency_keys": (f"USING ({_OWNED})",),
    "security_audit_logs": (f"USING ({_ALL})",),
}
"""The policies of each table, which count for the owner of the database, too."""

_FORGET = {
    "memories_v2_leave": """
        DELETE FROM memory_shares WHERE memory_id IN (SELECT id FROM lost);
        DELETE FROM memory_history WHERE memory_id IN (SELECT id FROM lost);
        DELETE FROM embeddings WHERE document IN (SELECT document FROM lost);
    """,
    "memories_v2_forget_uses": "DELETE FROM memory_uses WHERE memory_id IN (SELECT id FROM lost);",
}
"""What the triggers do for memories that are gone, by name."""

_FUNCTION = "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
_PLAIN = "BEGIN {statements} RETURN NULL; END"
_SEEING = """
    DECLARE audience text := current_setting('tmws.audience', true);
    BEGIN
        PERFORM set_config('tmws.audience', 'all:', true);
        {statements}
        PERFORM set_config('tmws.audience', audience, true);
        RETURN NULL;
    END
"""
"""What belongs to a memory is seen by who sees the memory: nobody, once it is gone."""


def _functions(body: str) -> tuple[str, ...]:
    return tuple(
        _FUNCTION.format(name=name, body=body.format(statements=statements)) for name, statements in _FORGET.items()
    )


def _each_partition(action: str) -> str:
    return f"""
        DO $$ DECLARE part regclass; BEGIN
            FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'memories_v2'::regclass LOOP
                {action};
            END LOOP;
        END $$
    """  # noqa: S608 - texts are constants


STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (),
    "postgresql": (
        "UPDATE memories_v2 SET audience = audience || ARRAY['all:'] WHERE NOT 'all:' = ANY(audience)",
        *_functions(_SEEING),
        *(
            f"CREATE POLICY {table}_{place} ON {table} {policy}"
            for table, policies in POLICIES.items()
            for place, policy in enumerate(policies)
        ),
        *(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY" for table in POLICIES),
        # The policies of memories_v2 do not count for who names a partition, as pg_dump does.
        _each_partition(
            "EXECUTE 'ALTER TABLE ' || part || ' ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY';"
            f"EXECUTE 'CREATE POLICY whole ON ' || part || $policy$ USING ({_ALL})$policy$"
        ),
    ),
}
"""What to execute, in order, by dialect."""

REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": (),
    "postgresql": (
        _each_partition(
            "EXECUTE 'ALTER TABLE ' || part || ' NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY';"
            "EXECUTE 'DROP POLICY whole ON ' || part"
        ),
        *(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY" for table in POLICIES),
        *(
            f"DROP POLICY {table}_{place} ON {table}"
            for table, policies in POLICIES.items()
            for place in range(len(policies))
        ),
        *_functions(_PLAIN),
        "UPDATE memories_v2 SET audience = array_remove(audience, 'all:')",
    ),
}
"""What undoes it; memories are read by whoever asks for them again."""


def upgrade() -> None:
    """Raise the wall."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Tear it down."""
    execute(REVERSED)
