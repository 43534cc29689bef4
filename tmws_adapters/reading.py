"""Files that somebody has named: read whole, within a bound, and never waited for."""

import os
import stat
from pathlib import Path

from tmws_core.errors import InvalidField, RequestTooLarge


def regular_file(path: Path, most: int, name: str = "file") -> bytes:
    """Return what is in a regular file; a pipe could let its reader wait for ever, and a device has no end.

    Raises:
        InvalidField: it is no regular file; `name` is that of the argument.
        RequestTooLarge: it has more than `most` bytes.
        OSError: it cannot be read.
    """
    _check_regular(path.stat(), name)  # opening a device can already do something
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _check_regular(os.fstat(file.fileno()), name)
        raw = file.read(most + 1)
    if len(raw) > most:
        raise RequestTooLarge(limit=most)
    return raw


def _check_regular(found: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidField(name=name, reason="is no regular file", hint="Name a file that holds everything")
