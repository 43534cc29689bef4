"""Whether what is written into the open database is found by whoever opens its path next."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs

from tmws_adapters.local.presence import Identity, identity_of
from tmws_adapters.sqlite.errors import PART, storage_error
from tmws_core.errors import StorageGone, StorageUnavailable

_LOG_SUFFIX = "-wal"
BESIDE = (_LOG_SUFFIX, "-shm")
"""What SQLite keeps beside a database for as long as anybody has it open: changes, and where they are."""

OPENINGS = 3
"""Attempts to open a file that is replaced meanwhile; a file system in layers does so once, by copying it."""

_FILE = "the database file was deleted, moved or replaced while it is open, so that nothing can be stored in it"
_LOG = "the log beside the database file was deleted or replaced while it is open, so that nothing can be stored in it"
_PUT_BACK = "Put the file back, or leave its path to a new one, and start TMWS again"
_STOP = "Stop TMWS by SIGTERM, not by SIGKILL: when it ends, it saves from the log what it can. Then start it again"


@attrs.define(eq=False)
class OpenFile:
    """The database file that this process has open, and what belongs to it; found by device and inode.

    The system keeps deleted files for those who have them open, so that a store without a file goes on as if nothing
    had happened, until its process ends.
    """

    _path: str
    _file: Identity | None = attrs.field(default=None, init=False)
    _beside: dict[str, tuple[str, Identity]] = attrs.field(factory=dict, init=False)

    @classmethod
    def at(cls, path: Path) -> "OpenFile":
        """Return the file at an absolute path, which is not open yet."""
        return cls(str(path))

    def found(self) -> Identity | None:
        """Return what is at the path now; StorageGone if it is another file than the open one, or none."""
        found = identity_of(self._path)
        if self._file is not None and found != self._file:
            raise StorageGone(part=PART, reason=_FILE, hint=_PUT_BACK)
        return found

    def opened(self, connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        """Return what `connect` opens at the path, and know which file it is, which SQLite does not tell."""
        for _ in range(OPENINGS):
            before = self.found()
            connection = connect()
            if identity_of(self._path) == before:
                self._file = before
                return connection
            connection.close()
        raise StorageGone(part=PART, reason=_FILE, hint=_PUT_BACK)

    def keep_beside(self, connection: sqlite3.Connection) -> None:
        """Remember the files beside the database, once a connection has made them."""
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal":
            # Reading makes them, if nothing has yet.
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
            self._beside = {suffix: self._located(suffix) for suffix in BESIDE}

    def log_bytes(self) -> int:
        """Return how large the log is, 0 without one; OSError if it is not where `check` found it last."""
        return Path(self._beside[_LOG_SUFFIX][0]).stat().st_size if _LOG_SUFFIX in self._beside else 0

    def check(self) -> None:
        """Raise StorageGone unless a process that opens the path now finds what this one writes."""
        self.found()
        for suffix, (path, identity) in self._beside.items():
            if identity_of(path) != identity:
                # The directory may have moved, and a symbolic link lead to where it is now.
                moved = os.path.realpath(self._path) + suffix
                if identity_of(moved) != identity:
                    raise StorageGone(part=PART, reason=_LOG, hint=_STOP)
                self._beside = {**self._beside, suffix: (moved, identity)}

    def meaning(self, error: sqlite3.Error) -> StorageUnavailable:
        """Return what an error of SQLite means: without its log it sees a failing disk, or a damaged file."""
        try:
            self.check()
        except StorageGone as gone:
            return gone
        return storage_error(error)

    def _located(self, suffix: str) -> tuple[str, Identity]:
        # SQLite follows the links to the database, and puts these beside the file itself.
        path = os.path.realpath(self._path) + suffix
        identity = identity_of(path)
        if identity is None:
            raise StorageGone(part=PART, reason=_LOG, hint=_STOP)
        return path, identity
