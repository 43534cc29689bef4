"""Storage and lexical search in one SQLite file."""

from tmws_adapters.sqlite.opening import BUSY_TIMEOUT, SqliteStore, open_sqlite
from tmws_adapters.sqlite.tables import open_sqlite_tables

__all__ = ["BUSY_TIMEOUT", "SqliteStore", "open_sqlite", "open_sqlite_tables"]
