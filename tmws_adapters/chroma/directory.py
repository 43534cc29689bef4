"""The directory of an embedded Chroma, which belongs to one process at a time."""

import os
import re
import shutil
from pathlib import Path

import attrs

from tmws_adapters.chroma.errors import PART, damaged
from tmws_adapters.private import make_directory, open_regular
from tmws_core.errors import IndexUnavailable

LOCK = "tmws.lock"
"""The locked file; it holds the number of the process that locked it last."""

DATABASE = "chroma.sqlite3"

_OURS = re.compile(r"chroma\.sqlite3(-.*)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The names that Chroma gives to files and directories."""


@attrs.define(eq=False)
class Directory:
    """A directory that is created when it is missing, and locked from `take` to `release`."""

    path: Path
    _lock: int | None = attrs.field(default=None, init=False)

    def take(self) -> None:
        """Create and lock the directory; does nothing while it is held. IndexUnavailable if another process has it."""
        if self.held():
            return
        self.release()
        try:
            make_directory(str(self.path))
            self._lock = self._locked()
        except OSError as error:
            raise IndexUnavailable(
                part=PART,
                reason=f"{self.path} cannot be used ({error.strerror})",
                hint="Make it a directory that this user may write, or set TMWS_CHROMA_PERSIST_DIRECTORY",
            ) from error

    def held(self) -> bool:
        """Tell whether the directory is the one that was locked; another may have taken its place."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat((self.path / LOCK).stat(), os.fstat(self._lock))
        except OSError:
            return False

    def database(self) -> os.stat_result:
        """Return the identity of the database file; IndexDamaged if it is gone."""
        try:
            return (self.path / DATABASE).stat()
        except OSError as error:
            raise damaged(f"{self.path / DATABASE} is gone") from error

    def clear(self) -> None:
        """Delete what Chroma keeps in the directory, and nothing else."""
        try:
            for entry in self.path.iterdir():
                if not _OURS.fullmatch(entry.name):
                    continue
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except OSError as error:
            raise damaged(f"{self.path} cannot be cleared ({error.strerror})") from error

    def release(self) -> None:
        """Give the directory up; does nothing if it is not held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> int:
        try:
            import fcntl  # noqa: PLC0415 - Windows has none
        except ImportError:
            raise IndexUnavailable(
                part=PART,
                reason="this system cannot lock a directory for one process",
                hint="Run a Chroma server and set TMWS_CHROMA_URL",
            ) from None
        descriptor = open_regular(str(self.path / LOCK), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise IndexUnavailable(
                part=PART,
                reason=f"{self.path} is in use by another process ({holder or 'unknown'})",
                hint="Let that process end, or run a Chroma server and set TMWS_CHROMA_URL",
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor
