"""Storage, lexical search and vector search in one PostgreSQL database."""

from tmws_adapters.postgres.opening import STATEMENT_TIMEOUT, PostgresStore, open_postgres
from tmws_adapters.postgres.tables import open_postgres_tables

__all__ = ["STATEMENT_TIMEOUT", "PostgresStore", "open_postgres", "open_postgres_tables"]
