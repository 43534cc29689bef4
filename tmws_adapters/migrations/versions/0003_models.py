"""Makes room for the vectors of a second model, and keeps of each model a vector to recognise it by."""

from tmws_adapters.migrations.runner import execute

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "ALTER TABLE embedding_models ADD COLUMN edition INTEGER NOT NULL DEFAULT 1",
        # Whose vectors the two tables below hold; NULL for the active model, and for those whose vectors are gone.
        "ALTER TABLE embedding_models ADD COLUMN role TEXT CHECK (role IN ('next', 'former'))",
        "ALTER TABLE embedding_models ADD COLUMN canary_text TEXT",
        "ALTER TABLE embedding_models ADD COLUMN canary_vector BLOB",
        "CREATE UNIQUE INDEX embedding_models_role ON embedding_models (role) WHERE role IS NOT NULL",
        # The three tables of vectors change their names when the model changes, so they are alike.
        """
        CREATE TABLE embeddings_next (
            document INTEGER PRIMARY KEY,
            model INTEGER NOT NULL REFERENCES embedding_models (id),
            vector BLOB NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE embeddings_former (
            document INTEGER PRIMARY KEY,
            model INTEGER NOT NULL REFERENCES embedding_models (id),
            vector BLOB NOT NULL
        ) STRICT
        """,
    ),
    # One table holds the vectors of all models.
    "postgresql": (
        """
        ALTER TABLE embedding_models
            ADD COLUMN edition integer NOT NULL DEFAULT 1,
            ADD COLUMN role text CHECK (role IN ('next', 'former')),
            ADD COLUMN canary_text text,
            ADD COLUMN canary_vector bytea
        """,
        "CREATE UNIQUE INDEX embedding_models_role ON embedding_models (role) WHERE role IS NOT NULL",
        "CREATE INDEX embeddings_model ON embeddings (model, document)",
    ),
}
"""What to execute, in order, by dialect."""

REVERSED: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "DROP TABLE embeddings_former",
        "DROP TABLE embeddings_next",
        "DROP INDEX embedding_models_role",
        "ALTER TABLE embedding_models DROP COLUMN canary_vector",
        "ALTER TABLE embedding_models DROP COLUMN canary_text",
        "ALTER TABLE embedding_models DROP COLUMN role",
        "ALTER TABLE embedding_models DROP COLUMN edition",
    ),
    "postgresql": (
        "DELETE FROM embeddings WHERE model IN (SELECT id FROM embedding_models WHERE NOT active)",
        "DROP INDEX embeddings_model",
        "DROP INDEX embedding_models_role",
        """
        ALTER TABLE embedding_models
            DROP COLUMN canary_vector, DROP COLUMN canary_text, DROP COLUMN role, DROP COLUMN edition
        """,
    ),
}
"""What undoes it; the active model keeps its vectors."""


def upgrade() -> None:
    """Add the tables and columns."""
    execute(STATEMENTS)


def downgrade() -> None:
    """Remove the tables and columns."""
    execute(REVERSED)
