"""What SQLite's errors mean to a caller of TMWS."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from tmws_core.errors import StorageBusy, StorageCorrupt, StorageFull, StorageReadOnly, StorageUnavailable

PART = "sqlite"
"""The name of this part in `/health`."""

_PRIMARY = 0xFF
"""An extended result code holds its primary code in the lowest byte (sqlite.org/rescode.html)."""

_RESTORE = "Stop TMWS, keep a copy of the file, and restore the last backup"
_FREE_SPACE = "Free space on the disk that holds TMWS_HOME, or move it to a larger one"
_GRANT = "Give the user that runs TMWS the right to write to the database file and its directory"
_WAIT = "Try again; if it persists, find the other process that keeps the database open for writing"
_DISK = "Look for disk errors in the system's log, and check that TMWS_HOME lies on a local disk"


@attrs.frozen
class _Meaning:
    error: type[StorageUnavailable]
    reason: str
    hint: str


_CORRUPT = _Meaning(StorageCorrupt, "the database file is damaged", _RESTORE)
_BUSY = _Meaning(StorageBusy, "another process holds the database's lock", _WAIT)
_FULL = _Meaning(StorageFull, "no space is left for the database", _FREE_SPACE)
_READ_ONLY = _Meaning(StorageReadOnly, "the database cannot be written by this user", _GRANT)

MEANINGS: dict[int, _Meaning] = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: _Meaning(
        StorageCorrupt, "the file is no SQLite database", "Set TMWS_DATABASE_URL to the database's own file"
    ),
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _Meaning(StorageUnavailable, "the database file cannot be opened", _GRANT),
    sqlite3.SQLITE_IOERR: _Meaning(StorageUnavailable, "the disk failed to read or write the database", _DISK),
    sqlite3.SQLITE_NOMEM: _Meaning(StorageUnavailable, "SQLite ran out of memory", "Give TMWS more memory"),
}
"""By primary result code; every other code is a fault of the program or of the schema."""

_UNKNOWN = _Meaning(StorageUnavailable, "the database refused a statement", "Run `tmws doctor` and report what it says")

_OS_MEANINGS: dict[int, _Meaning] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
}

_UNUSABLE = _Meaning(
    StorageUnavailable, "the database file cannot be reached", "Check that its directory is one and exists"
)


def storage_error(error: sqlite3.Error) -> StorageUnavailable:
    """Return what an error of SQLite means; its symbolic name is kept in the reason, its text and paths are not."""
    # Errors that sqlite3 itself raises, such as for a closed connection, have no code.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    meaning = MEANINGS.get(code & _PRIMARY, _UNKNOWN)
    return meaning.error(part=PART, reason=f"{meaning.reason} ({name})", hint=meaning.hint)


def file_error(error: OSError) -> StorageUnavailable:
    """Return what a failure to reach or create the file or its directory means."""
    meaning = _OS_MEANINGS.get(error.errno or 0, _UNUSABLE)
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return meaning.error(part=PART, reason=f"{meaning.reason} ({name})", hint=meaning.hint)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what SQLite raises inside the block as a StorageUnavailable."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error) from error
