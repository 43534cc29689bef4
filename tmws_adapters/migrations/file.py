"""The database file: private to the user who creates it."""

import errno
import os
import stat
from pathlib import Path

from tmws_adapters.private import PRIVATE_FILE, make_directory
from tmws_core.errors import StorageUnavailable

BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database, with the mode of the database at that time (sqlite.org/tempfiles.html)."""


def writable_file(path: Path) -> None:
    """Create an empty database file and its directory, where they are missing.

    Raises OSError if that is impossible or if this user cannot write to the file, and StorageUnavailable if something
    else than a file is there, or beside it where SQLite puts its own.
    """
    make_directory(str(path.parent))
    if path.exists() and not path.is_file():
        raise StorageUnavailable(
            part="sqlite",
            reason="what is at the path of the database file is no file",
            hint="Set TMWS_DATABASE_URL to a file, or leave it out and TMWS_HOME to a directory",
        )
    for each in (path.with_name(path.name + suffix) for suffix in BESIDE):
        # SQLite would wait for a pipe, and fail to write to a directory.
        if each.exists() and not each.is_file():
            raise StorageUnavailable(
                part="sqlite", reason=f"{each}, which is SQLite's, is no regular file", hint="Remove it"
            )
    # An existing file is not opened: closing it would drop this process's locks on it (POSIX).
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE_FILE))
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def claim(path: Path) -> None:
    """Make a database without tables, which becomes a store, private to this user, with what is beside it.

    Raises StorageUnavailable if it is another user's, who could read it for ever.
    """
    real = path.resolve()
    try:
        for each in (real, *(real.with_name(real.name + suffix) for suffix in BESIDE)):
            if each.exists() and stat.S_IMODE(each.stat().st_mode) & ~PRIVATE_FILE:
                each.chmod(PRIVATE_FILE)
    except OSError as error:
        raise StorageUnavailable(
            part="sqlite",
            reason=f"the database file is readable by other users and cannot be made private ({error.strerror})",
            hint="Take the file over with chown, or delete it: a private one is made",
        ) from error
