"""Tells who agents are, what they prove it with, what they own, and chains the audit log."""

from tmws_adapters.migrations.runner import execute

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BYTES = "length(CAST({row}.content AS BLOB)) + length(CAST({row}.metadata AS BLOB))"
_NEW, _OLD = _BYTES.format(row="new"), _BYTES.format(row="old")

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "ALTER TABLE agents ADD COLUMN role TEXT NOT NULL DEFAULT 'agent'",
        "ALTER TABLE agents ADD COLUMN active INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1))",
        "ALTER TABLE agents ADD COLUMN display_name TEXT",
        "ALTER TABLE agents ADD COLUMN description TEXT",
        "ALTER TABLE agents ADD COLUMN capabilities TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(capabilities))",
        "ALTER TABLE agents ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata))",
        # NULL for agents that have not been changed since they were registered.
        "ALTER TABLE agents ADD COLUMN updated_at TEXT",
        # What each agent owns, kept by triggers so that it is right whichever version of the program writes.
        """
        CREATE TABLE agent_belongings (
            agent_id TEXT PRIMARY KEY,
            memories INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        f"""
        INSERT INTO agent_belongings (agent_id, memories, bytes)
        SELECT agent_id, count(*), sum({_BYTES.format(row="memories_v2")}) FROM memories_v2 GROUP BY agent_id
        """,  # noqa: S608 - the text is a constant
        f"""
        CREATE TRIGGER memories_v2_gained AFTER INSERT ON memories_v2 BEGIN
            INSERT INTO agent_belongings (agent_id, memories, bytes) VALUES (new.agent_id, 1, {_NEW})
            ON CONFLICT (agent_id) DO UPDATE SET memories = memories + 1, bytes = bytes + excluded.bytes;
        END
        """,  # noqa: S608 - as above
        f"""
        CREATE TRIGGER memories_v2_lost AFTER DELETE ON memories_v2 BEGIN
            UPDATE agent_belongings SET memories = memories - 1, bytes = bytes - ({_OLD})
            WHERE agent_id = old.agent_id;
        END
        """,  # noqa: S608 - as above
        f"""
        CREATE TRIGGER memories_v2_resized AFTER UPDATE OF content, metadata ON memories_v2 BEGIN
            UPDATE agent_belongings SET bytes = bytes - ({_OLD}) + ({_NEW}) WHERE agent_id = new.agent_id;
        END
        """,  # noqa: S608 - as above
        """
        CREATE TABLE api_keys (
            id TEXT PRIMARY KEY,
            agent_id TEXT NOT NULL REFERENCES agents (id),
            digest BLOB NOT NULL,
            name TEXT,
            created_at TEXT NOT NULL,
            expires_at TEXT,
            revoked_at TEXT,
            last_used_at TEXT
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX api_keys_agent ON api_keys (agent_id)",
        """
        CREATE TABLE revoked_tokens (
            id TEXT PRIMARY KEY,
            expires_at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        # One row: the latest time at which the licence was looked at.
        """
        CREATE TABLE license_clock (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            last_seen TEXT NOT NULL
        ) STRICT
        """,
        # SHA-256 of the hash before and of the row itself; NULL only where an older version has written the row.
        "ALTER TABLE security_audit_logs ADD COLUMN hash BLOB",
        # One row: the last row of the log that is chained, so that what is missing at the end is noticed, too.
        """
        CREATE TABLE audit_head (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            last INTEGER NOT NULL,
            hash BLOB NOT NULL
        ) STRICT
        """,
        "INSERT INTO audit_head (id, last, hash) VALUES (1, 0, zeroblob(32))",
        # Signed statements that the log up to the row `last` had this hash; the log before the first may be pruned.
        """
        CREATE TABLE audit_checkpoints (
            last INTEGER PRIMARY KEY,
            hash BLOB NOT NULL,
            created_at TEXT NOT NULL,
            pruned INTEGER NOT NULL CHECK (pruned IN (0, 1)),
            public_key BLOB NOT NULL,
            signature BLOB NOT NULL
        ) STRICT
        """,
    )
}
"""What to execute, in order, by dialect."""

REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "DROP TABLE audit_checkpoints",
        "DROP TABLE audit_head",
        "ALTER TABLE security_audit_logs DROP COLUMN hash",
        "DROP TABLE license_clock",
        "DROP TABLE revoked_tokens",
        "DROP INDEX api_keys_agent",
        "DROP TABLE api_keys",
        "DROP TRIGGER memories_v2_resized",
        "DROP TRIGGER memories_v2_lost",
        "DROP TRIGGER memories_v2_gained",
        "DROP TABLE agent_belongings",
        "ALTER TABLE agents DROP COLUMN updated_at",
        "ALTER TABLE agents DROP COLUMN metadata",
        "ALTER TABLE agents DROP COLUMN capabilities",
        "ALTER TABLE agents DROP COLUMN description",
        "ALTER TABLE agents DROP COLUMN display_name",
        "ALTER TABLE agents DROP COLUMN active",
        "ALTER TABLE agents DROP COLUMN role",
    )
}
"""What undoes it; agents become ordinary ones again, and their keys are gone."""


def upgrade() -> None:
    """Add the tables, columns and triggers."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Remove the tables, columns and triggers."""
    execute(REVERSED)
