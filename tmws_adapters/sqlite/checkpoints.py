"""Copying SQLite's log into the database file while nobody writes, in whatever process.

SQLite before 3.51.3 may lose what is committed while one connection copies the log for the second time and another one
begins it anew (sqlite.org/wal.html, "The WAL-Reset Bug"); by default every connection copies it by itself. So none
does: whoever has written a large log copies it, while another connection keeps the lock that every writer needs.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress

import attrs

from tmws_core.errors import StorageUnavailable

LOG_BYTES = 4 * 1024 * 1024
"""The size of a log that is copied: 1,000 pages, after which SQLite would do it by itself."""

BY_HAND = ("PRAGMA wal_autocheckpoint = 0", "PRAGMA journal_size_limit = 0")
"""What a writing connection is set to: it copies nothing by itself, and a log that begins anew is as small as it is."""

TIMEOUT_SECONDS = 0.05
"""How long to wait for a process that writes just now: the next commit tries again."""


@attrs.define(eq=False)
class Checkpoints:
    """What copies the log of one file; `connect` opens a further connection, which is kept.

    `log_bytes` returns how large the log is.
    """

    _log_bytes: Callable[[], int]
    _connect: Callable[[], sqlite3.Connection]
    _guard: sqlite3.Connection | None = attrs.field(default=None, init=False)

    def copy_if_large(self, writer: sqlite3.Connection) -> None:
        """Copy the log into the file, if it is large and nobody writes; `writer` is in no transaction.

        What is committed stands in the log as well: where copying fails, the next commit tries again.
        """
        with suppress(OSError, sqlite3.Error, StorageUnavailable):
            if self._log_bytes() >= LOG_BYTES:
                self._copy(writer)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._guard is not None:
            self._guard.close()

    def _copy(self, writer: sqlite3.Connection) -> None:
        if self._guard is None:
            self._guard = self._connect()
        self._guard.execute("BEGIN IMMEDIATE")
        try:
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            self._guard.execute("ROLLBACK")
