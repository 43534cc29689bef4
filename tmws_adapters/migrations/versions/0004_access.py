"""Tells who agents are, what they prove it with, what they own, and chains the audit log."""

from alembic import op

from tmws_adapters.migrations.runner import execute
from tmws_core.domain.audit import AuditRecord
from tmws_core.domain.chain import GENESIS, chained

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
    ),
    "postgresql": (
        """
        ALTER TABLE agents
            ADD COLUMN role text NOT NULL DEFAULT 'agent',
            ADD COLUMN active boolean NOT NULL DEFAULT true,
            ADD COLUMN display_name text,
            ADD COLUMN description text,
            ADD COLUMN capabilities text NOT NULL DEFAULT '[]' CHECK (capabilities IS JSON ARRAY),
            ADD COLUMN metadata text NOT NULL DEFAULT '{}' CHECK (metadata IS JSON OBJECT),
            ADD COLUMN updated_at timestamptz
        """,
        """
        CREATE TABLE agent_belongings (
            agent_id text COLLATE "C" PRIMARY KEY,
            memories bigint NOT NULL,
            bytes bigint NOT NULL
        ) WITH (fillfactor = 50)
        """,
        """
        INSERT INTO agent_belongings (agent_id, memories, bytes)
        SELECT agent_id, count(*), sum(octet_length(content) + octet_length(metadata)) FROM memories_v2 GROUP BY 1
        """,
        # In the order of the agents, so that two batches never wait for each other.
        """
        CREATE FUNCTION memories_v2_gained() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO agent_belongings AS a (agent_id, memories, bytes)
            SELECT agent_id, count(*), sum(octet_length(content) + octet_length(metadata))
            FROM gained GROUP BY 1 ORDER BY 1
            ON CONFLICT (agent_id)
            DO UPDATE SET memories = a.memories + excluded.memories, bytes = a.bytes + excluded.bytes;
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER memories_v2_gained AFTER INSERT ON memories_v2
        REFERENCING NEW TABLE AS gained FOR EACH STATEMENT EXECUTE FUNCTION memories_v2_gained()
        """,
        """
        CREATE FUNCTION memories_v2_lost() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE agent_belongings AS a SET memories = a.memories - gone.memories, bytes = a.bytes - gone.bytes
            FROM (
                SELECT agent_id, count(*) AS memories, sum(octet_length(content) + octet_length(metadata)) AS bytes
                FROM lost GROUP BY 1
            ) AS gone
            WHERE a.agent_id = gone.agent_id;
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER memories_v2_lost AFTER DELETE ON memories_v2
        REFERENCING OLD TABLE AS lost FOR EACH STATEMENT EXECUTE FUNCTION memories_v2_lost()
        """,
        """
        CREATE FUNCTION memories_v2_resized() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE agent_belongings SET bytes = bytes
                + octet_length(new.content) + octet_length(new.metadata)
                - octet_length(old.content) - octet_length(old.metadata)
            WHERE agent_id = new.agent_id;
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER memories_v2_resized AFTER UPDATE OF content, metadata ON memories_v2
        FOR EACH ROW EXECUTE FUNCTION memories_v2_resized()
        """,
        """
        CREATE TABLE api_keys (
            id text COLLATE "C" PRIMARY KEY,
            agent_id text COLLATE "C" NOT NULL REFERENCES agents (id),
            digest bytea NOT NULL,
            name text,
            created_at timestamptz NOT NULL,
            expires_at timestamptz,
            revoked_at timestamptz,
            last_used_at timestamptz
        )
        """,
        "CREATE INDEX api_keys_agent ON api_keys (agent_id)",
        """
        CREATE TABLE revoked_tokens (
            id text COLLATE "C" PRIMARY KEY,
            expires_at timestamptz NOT NULL
        )
        """,
        """
        CREATE TABLE license_clock (
            id integer PRIMARY KEY CHECK (id = 1),
            last_seen timestamptz NOT NULL
        )
        """,
        "ALTER TABLE security_audit_logs ADD COLUMN hash bytea",
        """
        CREATE TABLE audit_head (
            id integer PRIMARY KEY CHECK (id = 1),
            last bigint NOT NULL,
            hash bytea NOT NULL
        ) WITH (fillfactor = 50)
        """,
        "INSERT INTO audit_head (id, last, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'))",
        """
        CREATE TABLE audit_checkpoints (
            last bigint PRIMARY KEY,
            hash bytea NOT NULL,
            created_at text NOT NULL,
            pruned boolean NOT NULL,
            public_key bytea NOT NULL,
            signature bytea NOT NULL
        )
        """,
    ),
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
    ),
    "postgresql": (
        "DROP TABLE audit_checkpoints",
        "DROP TABLE audit_head",
        "ALTER TABLE security_audit_logs DROP COLUMN hash",
        "DROP TABLE license_clock",
        "DROP TABLE revoked_tokens",
        "DROP TABLE api_keys",
        "DROP TRIGGER memories_v2_resized ON memories_v2",
        "DROP TRIGGER memories_v2_lost ON memories_v2",
        "DROP TRIGGER memories_v2_gained ON memories_v2",
        "DROP FUNCTION memories_v2_resized, memories_v2_lost, memories_v2_gained",
        "DROP TABLE agent_belongings",
        """
        ALTER TABLE agents
            DROP COLUMN updated_at, DROP COLUMN metadata, DROP COLUMN capabilities, DROP COLUMN description,
            DROP COLUMN display_name, DROP COLUMN active, DROP COLUMN role
        """,
    ),
}
"""What undoes it; agents become ordinary ones again, and their keys are gone."""


BATCH = 10_000
"""Rows of the log chained at a time, of about 400 bytes each; a million take 15 s."""


def upgrade() -> None:
    """Add the tables, columns and triggers, and chain the log as it stands."""
    execute(STATEMENTS)
    _chain()


def downgrade() -> None:
    """Remove the tables, columns and triggers."""
    execute(REVERSED)


def _chain() -> None:
    connection = op.get_bind()
    last, digest = 0, GENESIS
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    read = f"""
        SELECT id, timestamp, event_type, agent_id, details FROM security_audit_logs
        WHERE id > {mark} ORDER BY id LIMIT {mark}
    """  # noqa: S608 - the text is a constant
    while rows := connection.exec_driver_sql(read, (last, BATCH)).fetchall():
        hashes = []
        for last, timestamp, event_type, agent_id, details in rows:
            digest = chained(digest, AuditRecord(last, timestamp, event_type, agent_id, details, None))
            hashes.append((digest, last))
        connection.exec_driver_sql(f"UPDATE security_audit_logs SET hash = {mark} WHERE id = {mark}", hashes)  # noqa: S608 - as above
    connection.exec_driver_sql(f"UPDATE audit_head SET last = {mark}, hash = {mark}", (last, digest))  # noqa: S608 - as above
