"""Storage and lexical search in one SQLite file."""

from tmws_adapters.sqlite.opening import BUSY_TIMEOUT, SqliteStore, open_sqlite

__all__ = ["BUSY_TIMEOUT", "SqliteStore", "open_sqlite"]
