"""Files and directories of this user alone: how they are made, and how they are read where others may have been.

An agent terminal starts with it, so that little is imported here.
"""

import errno
import os
import stat

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
"""Modes of what is made."""

MOST_BYTES = 1024 * 1024
"""The largest small file that is read; of settings with every one explained there are 15 kB."""

_OTHERS = 0o077
_STRANGERS = 0o007
"""Modes: what all but the owner may do, and what all may who are not in the group either."""

_AT_ONCE = os.O_NONBLOCK | os.O_NOCTTY
"""A pipe would let an open wait for its other end, and a terminal would become that of this process."""


class Unfit(OSError):
    """What is at a path must not be used as a file of ours: `reason` says why, `remedy` what to do."""

    def __init__(self, path: str, reason: str, remedy: str) -> None:
        super().__init__(errno.EINVAL, reason, path)
        self.reason = reason
        self.remedy = remedy


def make_directory(path: str) -> None:
    """Create a directory, and those above it, where they are missing, for this user alone.

    Raises:
        OSError: they cannot be created.
    """
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        try:
            os.mkdir(each, PRIVATE_DIRECTORY)
        except FileExistsError:  # another process was faster, or it is no directory
            if not os.path.isdir(each):
                raise


def open_regular(path: str, flags: int) -> int:
    """Return a descriptor of a regular file, made for this user alone where the flags say so; nothing is waited for.

    Raises:
        Unfit: it is a pipe, a device, a directory or a socket.
        OSError: it cannot be opened.
    """
    check_regular(path)  # opening a device can already do something
    descriptor = os.open(path, flags | _AT_ONCE, PRIVATE_FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular(path)
    return descriptor


def check_regular(path: str) -> None:
    """Raise Unfit where something else than a regular file is at a path, which is not opened."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise _irregular(path)


def read_regular(path: str, most: int) -> bytes:
    """Return the first bytes of a regular file, so many at most; raises as `open_regular` does."""
    descriptor = open_regular(path, os.O_RDONLY)
    try:
        return _first(descriptor, most)
    finally:
        os.close(descriptor)


def read_tail(path: str, most: int) -> bytes:
    """Return the last bytes of a regular file, so many at most; raises as `open_regular` does."""
    descriptor = open_regular(path, os.O_RDONLY)
    try:
        os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - most), os.SEEK_SET)
        return _first(descriptor, most)
    finally:
        os.close(descriptor)


def read_small(path: str) -> bytes:
    """Return the content of a regular file of MOST_BYTES at most, whoever wrote it.

    Raises:
        Unfit: it is longer, or no regular file.
        OSError: it cannot be read.
    """
    return _whole(path, read_regular(path, MOST_BYTES + 1))


def read_own(path: str, *, secret: bool = False) -> bytes:
    """Return the content of a small file that no other user but root can have written.

    Of a `secret` the directory may not be everybody's either, and what other users may do with the file is taken back.

    Raises:
        Unfit: somebody else can have written it, it is longer than MOST_BYTES, or no regular file.
        OSError: it cannot be read.
    """
    descriptor = open_regular(path, os.O_RDONLY)
    try:
        facts = os.fstat(descriptor)
        if facts.st_uid not in (os.geteuid(), 0):
            raise Unfit(path, "belongs to another user", "Take it over with chown if you know what is in it")
        if facts.st_mode & stat.S_IWOTH:
            raise Unfit(path, "can be written by every user", "Run chmod o-w on it if you know what is in it")
        if secret:
            check_directory(os.path.dirname(path))
            _close_to_others(path, descriptor, facts)
        return _whole(path, _first(descriptor, MOST_BYTES + 1))
    finally:
        os.close(descriptor)


def check_directory(path: str) -> None:
    """Raise Unfit for a directory in which every user may replace what is in it."""
    mode = os.stat(path or ".").st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise Unfit(path, "can be written by every user", "Run chmod o-w on it, and look for what is not yours")


def _close_to_others(path: str, descriptor: int, facts: os.stat_result) -> None:
    if not facts.st_mode & _OTHERS:
        return
    if facts.st_uid == os.geteuid():
        os.fchmod(descriptor, PRIVATE_FILE)
    elif facts.st_mode & _STRANGERS:
        raise Unfit(path, "can be read by every user", "Run chmod o-rwx on it, and change the secret")


def _first(descriptor: int, most: int) -> bytes:
    content = b""
    while len(content) < most and (chunk := os.read(descriptor, most - len(content))):
        content += chunk
    return content


def _whole(path: str, content: bytes) -> bytes:
    if len(content) > MOST_BYTES:
        raise Unfit(path, f"has more than {MOST_BYTES} bytes", "Remove what does not belong there")
    return content


def _irregular(path: str) -> Unfit:
    return Unfit(path, "is no regular file", "Remove it")
