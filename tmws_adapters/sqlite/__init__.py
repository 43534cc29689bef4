"""Storage and lexical search in one SQLite file."""

from tmws_adapters.sqlite.opening import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
