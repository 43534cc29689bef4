"""The database file: private to the user who creates it."""

import errno
import os
from pathlib import Path

from tmws_core.errors import StorageUnavailable

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
"""Modes; SQLite gives the files that it puts beside the database the mode of the database."""


def writable_file(path: Path) -> None:
    """Create an empty database file and its directory, where they are missing.

    Raises OSError if that is impossible or if this user cannot write to the file, and StorageUnavailable if something
    else than a file is there.
    """
    path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise StorageUnavailable(
            part="sqlite",
            reason="what is at the path of the database file is no file",
            hint="Set TMWS_DATABASE_URL to a file, or leave it out and TMWS_HOME to a directory",
        )
    # An existing file is not opened: closing it would drop this process's locks on it (POSIX).
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE_FILE))
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
