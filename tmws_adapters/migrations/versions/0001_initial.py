"""The first schema.

Times that the program computes with (`*_at`, `valid_*` of memories and their history) are integers: microseconds since
1970-01-01T00:00:00Z. Times that people read with a shell (agents, audit log) are RFC 3339 text in UTC. Words of the
domain (memory type, access level, permission) are stored as they appear on the wire.
"""

from tmws_adapters.migrations.runner import execute

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        """
        CREATE TABLE agents (
            id TEXT PRIMARY KEY,
            namespace TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE embedding_models (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            dimension INTEGER NOT NULL,
            digest TEXT NOT NULL,
            active INTEGER NOT NULL CHECK (active IN (0, 1))
        ) STRICT
        """,
        "CREATE UNIQUE INDEX embedding_models_active ON embedding_models (active) WHERE active = 1",
        # One row. Documents get their numbers from `last`, so that none is given twice, not even the newest after it is
        # deleted; `changes` counts the changes of memories, so that an answer can be kept while it stands still.
        """
        CREATE TABLE document_numbers (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            last INTEGER NOT NULL,
            changes INTEGER NOT NULL
        ) STRICT
        """,
        "INSERT INTO document_numbers (id, last, changes) VALUES (1, 0, 0)",
        # The long columns stand last: reading those before them touches no overflow page.
        """
        CREATE TABLE memories_v2 (
            document INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            agent_id TEXT NOT NULL,
            namespace TEXT NOT NULL,
            access_level TEXT NOT NULL,
            memory_type TEXT NOT NULL,
            importance REAL NOT NULL,
            session_id TEXT,
            sequence INTEGER,
            occurred_at INTEGER,
            expires_at INTEGER,
            superseded_by TEXT,
            superseded_at INTEGER,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            version INTEGER NOT NULL,
            model INTEGER REFERENCES embedding_models (id),
            content_hash TEXT NOT NULL,
            source TEXT,
            written_by TEXT NOT NULL,
            transport TEXT NOT NULL,
            tags TEXT NOT NULL CHECK (json_valid(tags)),
            metadata TEXT NOT NULL CHECK (json_valid(metadata)),
            content TEXT NOT NULL
        ) STRICT
        """,
        # All that decides whether a memory lies in a scope, in the order of the documents.
        """
        CREATE INDEX memories_v2_scope ON memories_v2 (
            document, agent_id, access_level, namespace, model, expires_at, superseded_at, created_at,
            memory_type, importance, session_id, occurred_at, tags
        )
        """,
        """
        CREATE INDEX memories_v2_text ON memories_v2 (agent_id, namespace, content_hash, id)
        WHERE superseded_at IS NULL
        """,
        # The moments at which a scope gains or loses a memory although nothing changes.
        "CREATE INDEX memories_v2_created ON memories_v2 (created_at)",
        "CREATE INDEX memories_v2_expires ON memories_v2 (expires_at) WHERE expires_at IS NOT NULL",
        "CREATE INDEX memories_v2_superseded ON memories_v2 (superseded_at) WHERE superseded_at IS NOT NULL",
        "CREATE INDEX memories_v2_unembedded ON memories_v2 (importance DESC, id DESC) WHERE model IS NULL",
        """
        CREATE TABLE memory_shares (
            memory_id TEXT NOT NULL REFERENCES memories_v2 (id) ON DELETE CASCADE,
            agent_id TEXT NOT NULL,
            permission TEXT NOT NULL,
            PRIMARY KEY (memory_id, agent_id)
        ) STRICT
        """,
        "CREATE INDEX memory_shares_agent ON memory_shares (agent_id, memory_id)",
        """
        CREATE TABLE memory_history (
            memory_id TEXT NOT NULL REFERENCES memories_v2 (id) ON DELETE CASCADE,
            version INTEGER NOT NULL,
            content TEXT NOT NULL,
            valid_from INTEGER NOT NULL,
            valid_to INTEGER NOT NULL,
            changed_by TEXT NOT NULL,
            PRIMARY KEY (memory_id, version)
        ) STRICT
        """,
        """
        CREATE TABLE embeddings (
            document INTEGER PRIMARY KEY,
            model INTEGER NOT NULL REFERENCES embedding_models (id),
            vector BLOB NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE idempotency_keys (
            agent_id TEXT NOT NULL,
            key TEXT NOT NULL,
            memory_id TEXT NOT NULL,
            PRIMARY KEY (agent_id, key)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE security_audit_logs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            timestamp TEXT NOT NULL,
            event_type TEXT NOT NULL,
            agent_id TEXT NOT NULL,
            details TEXT NOT NULL CHECK (json_valid(details))
        ) STRICT
        """,
        "CREATE INDEX security_audit_logs_timestamp ON security_audit_logs (timestamp)",
        # Where the turns of a session stand that share their readers; lists of single agents may differ.
        """
        CREATE INDEX memories_v2_turns ON memories_v2 (
            session_id, agent_id, namespace, access_level, sequence, document
        )
        WHERE session_id IS NOT NULL AND sequence IS NOT NULL AND access_level <> 'shared'
        """,
        # The text of a memory, those of the two turns before it in its session, and who may read it. Marks belong to
        # words, as the vowels of Hindi and Thai are marks.
        """
        CREATE VIRTUAL TABLE memories_fts USING fts5 (
            text, previous, before_previous, readers,
            tokenize = "porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
        )
        """,
    ),
    # Times are `timestamptz` here. Names are compared byte by byte, as in SQLite, whatever the database's collation.
    "postgresql": (
        "CREATE EXTENSION IF NOT EXISTS vector",
        """
        CREATE TABLE agents (
            id text COLLATE "C" PRIMARY KEY,
            namespace text COLLATE "C" NOT NULL,
            created_at timestamptz NOT NULL
        )
        """,
        """
        CREATE TABLE embedding_models (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL,
            dimension integer NOT NULL,
            digest text NOT NULL,
            active boolean NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX embedding_models_active ON embedding_models (active) WHERE active",
        "CREATE SEQUENCE documents AS bigint",
        # What has changed, and what the lexical index holds, in as many parts as keep writers out of each other's way:
        # the sums count.
        """
        CREATE TABLE memory_changes (
            slot integer PRIMARY KEY,
            changes bigint NOT NULL DEFAULT 0,
            documents bigint NOT NULL DEFAULT 0,
            tokens bigint NOT NULL DEFAULT 0
        ) WITH (fillfactor = 20)
        """,
        "INSERT INTO memory_changes (slot) SELECT generate_series(0, 63)",
        # `audience` says who may read a memory: `agent:`, `team:`, and `open:`; a caller reads what it has a word of.
        """
        CREATE TABLE memories_v2 (
            document bigint NOT NULL,
            version integer NOT NULL,
            model integer REFERENCES embedding_models (id),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            occurred_at timestamptz,
            expires_at timestamptz,
            superseded_at timestamptz,
            sequence bigint,
            importance double precision NOT NULL,
            id text COLLATE "C" NOT NULL,
            agent_id text COLLATE "C" NOT NULL,
            namespace text COLLATE "C" NOT NULL,
            access_level text NOT NULL,
            memory_type text NOT NULL,
            audience text[] COLLATE "C" NOT NULL,
            session_id text COLLATE "C",
            superseded_by text,
            content_hash text COLLATE "C" NOT NULL,
            source text,
            written_by text NOT NULL,
            transport text NOT NULL,
            tags text[] COLLATE "C" NOT NULL,
            metadata text NOT NULL CHECK (metadata IS JSON OBJECT),
            content text NOT NULL,
            PRIMARY KEY (id, created_at),
            UNIQUE (document, created_at)
        ) PARTITION BY RANGE (created_at)
        """,
        # What has no partition of its own month is here, so that nothing is ever refused.
        "CREATE TABLE memories_v2_default PARTITION OF memories_v2 DEFAULT",
        "CREATE INDEX memories_v2_audience ON memories_v2 USING gin (audience) WITH (fastupdate = off)",
        "CREATE INDEX memories_v2_namespace ON memories_v2 (namespace, agent_id)",
        "CREATE INDEX memories_v2_session ON memories_v2 (session_id) WHERE session_id IS NOT NULL",
        """
        CREATE INDEX memories_v2_text ON memories_v2 (agent_id, namespace, content_hash, id)
        WHERE superseded_at IS NULL
        """,
        "CREATE INDEX memories_v2_unembedded ON memories_v2 (importance DESC, id DESC) WHERE model IS NULL",
        """
        CREATE INDEX memories_v2_turns ON memories_v2 (
            session_id, agent_id, namespace, access_level, sequence, document
        )
        WHERE session_id IS NOT NULL AND sequence IS NOT NULL AND access_level <> 'shared'
        """,
        # Nothing can refer to `id` alone, as a key of a partitioned table holds its partition's column: a trigger
        # deletes what belongs to a memory.
        """
        CREATE TABLE memory_shares (
            memory_id text COLLATE "C" NOT NULL,
            agent_id text COLLATE "C" NOT NULL,
            permission text NOT NULL,
            place integer NOT NULL,
            PRIMARY KEY (memory_id, agent_id)
        )
        """,
        """
        CREATE TABLE memory_history (
            memory_id text COLLATE "C" NOT NULL,
            version integer NOT NULL,
            content text NOT NULL,
            valid_from timestamptz NOT NULL,
            valid_to timestamptz NOT NULL,
            changed_by text NOT NULL,
            PRIMARY KEY (memory_id, version)
        )
        """,
        # Vectors of all models; each model has an index of its own over those of its dimension. They stay in the row up
        # to 2,000 values: fetching them from beside the table takes longer than comparing them.
        """
        CREATE TABLE embeddings (
            document bigint NOT NULL,
            model integer NOT NULL REFERENCES embedding_models (id),
            vector vector NOT NULL,
            PRIMARY KEY (document, model)
        ) WITH (toast_tuple_target = 8160)
        """,
        """
        CREATE TABLE idempotency_keys (
            agent_id text COLLATE "C" NOT NULL,
            key text COLLATE "C" NOT NULL,
            memory_id text NOT NULL,
            PRIMARY KEY (agent_id, key)
        )
        """,
        """
        CREATE TABLE security_audit_logs (
            id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
            timestamp text COLLATE "C" NOT NULL,
            event_type text COLLATE "C" NOT NULL,
            agent_id text COLLATE "C" NOT NULL,
            details text NOT NULL CHECK (details IS JSON)
        )
        """,
        "CREATE INDEX security_audit_logs_timestamp ON security_audit_logs (timestamp)",
        # The words of each document, those of the two turns before it in its session included, and how often its own
        # text has them (0: only the turns before it do).
        """
        CREATE TABLE memory_words (
            document bigint PRIMARY KEY,
            words text[] COLLATE "C" NOT NULL,
            counts integer[] NOT NULL,
            tokens integer NOT NULL,
            readers text[] COLLATE "C" NOT NULL
        )
        """,
        # The same by word; and by reader, so that a search in a small scope reads few entries. `frequency` is weighted,
        # `tokens` the length of the document; the index alone answers.
        """
        CREATE TABLE memory_postings (
            document bigint NOT NULL,
            frequency smallint NOT NULL,
            tokens smallint NOT NULL,
            word text COLLATE "C" NOT NULL,
            PRIMARY KEY (word, document) INCLUDE (frequency, tokens)
        )
        """,
        """
        CREATE FUNCTION memories_v2_leave() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM memory_shares WHERE memory_id IN (SELECT id FROM lost);
            DELETE FROM memory_history WHERE memory_id IN (SELECT id FROM lost);
            DELETE FROM embeddings WHERE document IN (SELECT document FROM lost);
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER memories_v2_leave AFTER DELETE ON memories_v2
        REFERENCING OLD TABLE AS lost FOR EACH STATEMENT EXECUTE FUNCTION memories_v2_leave()
        """,
    ),
}
"""What to execute, in order, by dialect."""


def upgrade() -> None:
    """Create the tables."""
    execute(STATEMENTS)
