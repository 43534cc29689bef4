"""Files that appear when they are complete: written beside their place, private and durable before they are there."""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import attrs

from tmws_adapters.private import PRIVATE_FILE

_SUFFIX = ".partial"
_RANDOM_BYTES = 8
_RANDOM = f"[0-9a-f]{{{2 * _RANDOM_BYTES}}}"

_NAME_CHARACTERS = 50
"""Of the name of a file in that of its draft: a name of a file has at most 255 bytes."""


@attrs.frozen
class Draft:
    """What is written so far, under a name that nobody could know before."""

    file: BinaryIO
    path: Path
    target: Path

    def place(self) -> None:
        """Put it in its place once it is on the disk; whoever looks there finds the former file or the whole new one.

        A link there is replaced, not followed. Its name is durable with the next `sync_directory`.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        os.replace(self.path, self.target)  # noqa: PTH105 - beside os.fsync

    def complete(self) -> None:
        """Put it in its place, durably."""
        self.place()
        sync_directory(self.target.parent)


@contextmanager
def draft_of(target: Path, *, locked: bool = True) -> Iterator[Draft]:
    """Begin a file that takes its place when it is completed, and vanishes with the block otherwise.

    Nothing that is there already is written to or gone on with. Unless it is `locked`, `clear_away` takes it for left
    behind: that is for a writer with locks of its own, which would wait for this one on some systems.

    Raises:
        OSError: it cannot be made.
    """
    descriptor, path = _begun(target, locked=locked)
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield Draft(file, path, target)
        finally:
            with suppress(FileNotFoundError):  # it was completed
                path.unlink()


def write_durably(target: Path, content: bytes) -> None:
    """Put a private file in its place, whole and durable; drafts of it that were left behind are removed.

    Raises:
        OSError: it cannot be written; the former file is as it was.
    """
    clear_away(target.parent, target.name)
    with draft_of(target) as draft:
        draft.file.write(content)
        draft.complete()


def sync_directory(directory: Path) -> None:
    """Make durable which files a directory has."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_away(directory: Path, name: str = "") -> None:
    """Remove the drafts that processes of this user have left behind, of one file or of all in a directory.

    One that is still being written is locked, and stays; so does what has another name than a draft.
    """
    draft = re.compile(rf"\.{re.escape(name[:_NAME_CHARACTERS]) or '.+'}\.{_RANDOM}{re.escape(_SUFFIX)}", re.DOTALL)
    with os.scandir(directory) as entries:
        found = [entry.name for entry in entries if draft.fullmatch(entry.name)]
    for each in found:
        with suppress(OSError):
            _remove_left(directory / each)


def _begun(target: Path, *, locked: bool) -> tuple[int, Path]:
    """Make a draft, and lock it."""
    while True:
        path = target.with_name(f".{target.name[:_NAME_CHARACTERS]}.{secrets.token_hex(_RANDOM_BYTES)}{_SUFFIX}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(path, flags, PRIVATE_FILE)
        if not locked or (_lock(descriptor, otherwise=True) and _names(path, descriptor)):
            return descriptor, path
        os.close(descriptor)  # taken for left behind in the moment before it was locked


def _remove_left(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
        if ours and _lock(descriptor, otherwise=False) and _names(path, descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, otherwise: bool) -> bool:
    """Lock a file until it is closed, unless another process has; `otherwise` is for file systems without locks."""
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _names(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
