"""Storage, lexical search and vector search in one PostgreSQL database."""

from tmws_adapters.postgres.opening import STATEMENT_TIMEOUT, PostgresStore, open_postgres

__all__ = ["STATEMENT_TIMEOUT", "PostgresStore", "open_postgres"]
