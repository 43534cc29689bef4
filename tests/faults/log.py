"""SQLite's write-ahead log and its index, read as files (sqlite.org/walformat.html)."""

import struct
from pathlib import Path

import attrs

HEADER = 32
FRAME_HEADER = 24

_LAST_FRAME = struct.Struct("=16x I 12x 8s")
_CHECKPOINT = struct.Struct("=96x I 28x I")


def beside(database: Path, suffix: str) -> Path:
    return database.with_name(f"{database.name}-{suffix}")


def place(database: Path) -> tuple[str, int]:
    """Return the salt of the log, which changes when it begins anew, and the number of its frames."""
    frames, salt = _LAST_FRAME.unpack_from(beside(database, "shm").read_bytes())
    return salt.hex(), frames


@attrs.frozen
class Log:
    """A log as it was at one moment; the database may hold any of the first `copied` frames already."""

    salt: str
    frames: int
    copied: int
    page: int

    @classmethod
    def of(cls, database: Path) -> "Log":
        salt, frames = place(database)
        index = beside(database, "shm").read_bytes()
        done, attempted = _CHECKPOINT.unpack_from(index)
        (page,) = struct.unpack_from(">8x I", beside(database, "wal").read_bytes())
        return cls(salt, frames, max(done, attempted), page)

    def end_of(self, frame: int) -> int:
        """Return the bytes that the log takes up to the end of a frame, counted from 1."""
        return HEADER + frame * (FRAME_HEADER + self.page)
