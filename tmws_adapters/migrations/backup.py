"""The copy of a SQLite file that is made before its schema changes."""

import errno
import re
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tmws_adapters.drafts import clear_away, draft_of
from tmws_core.errors import StorageCorrupt, StorageFull, StorageUnavailable

KEPT = 2
"""Copies that stay: that of the last change, and one to compare it with."""

PAGES = 5_000
"""Pages copied between two looks at the progress: 20 MB, of which a disk writes a few hundred a second."""

INFIX = ".before-"
"""Between the name of the file and the revision that its schema changed to."""

_REVISION = re.compile("[0-9]{4}")
_UNFINISHED = re.compile(r"[0-9]{4}\.unfinished(?:-[a-z]+)?")

_FULL = {errno.ENOSPC, errno.EDQUOT}

_PRIMARY = 0xFF
"""An extended result code holds its primary code in the lowest byte (sqlite.org/rescode.html)."""

Tell = Callable[[str], None]
"""Takes a line about how far the work is."""


def back_up(path: Path, revision: str, tell: Tell) -> Path:
    """Copy a database beside it before its schema becomes that of `revision`, and return where to.

    The caller holds the write lock, so that nobody changes the file meanwhile, and has changed nothing itself. A copy
    of that name is replaced, and only the KEPT newest stay. Raises a StorageUnavailable if no sound copy can be made.
    """
    target = path.with_name(f"{path.name}{INFIX}{revision}")
    try:
        clear_away(target.parent, target.name)
        for left in _beside(path, _UNFINISHED):
            left.unlink()  # an earlier version was killed while it wrote this
        with draft_of(target, locked=False) as draft:
            _copy(path, draft.path, tell)
            draft.complete()
        _prune(path)
    except (OSError, sqlite3.Error) as error:
        raise _refusal(error) from error
    return target


def backups(path: Path) -> list[Path]:
    """Return the copies of a database that are named after a revision, the newest first: others are somebody's own."""
    return sorted(_beside(path, _REVISION), key=lambda each: -each.lstat().st_mtime_ns)


def _beside(path: Path, named: re.Pattern[str]) -> list[Path]:
    """Return the regular files beside a database whose names go on so behind INFIX."""
    before = f"{path.name}{INFIX}"
    found = [each for each in path.parent.iterdir() if each.name.startswith(before)]
    return [
        each for each in found if named.fullmatch(each.name.removeprefix(before)) and stat.S_ISREG(each.lstat().st_mode)
    ]


def _copy(path: Path, draft: Path, tell: Tell) -> None:
    def progressed(_: int, remaining: int, total: int) -> None:
        tell(f"copying the database, {(total - remaining) * 100 // max(total, 1)} %")

    with closing(sqlite3.connect(draft)) as copy:
        # Nobody goes on with a draft, so that nothing of it has to be taken back.
        copy.execute("PRAGMA journal_mode = MEMORY")
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source:
            source.backup(copy, pages=PAGES, progress=progressed)
        # It is to be one file: a log beside it would be left behind by whoever moves it.
        copy.execute("PRAGMA journal_mode = MEMORY")
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged()


def _prune(path: Path) -> None:
    for old in backups(path)[KEPT:]:
        old.unlink()


def _refusal(error: OSError | sqlite3.Error) -> StorageUnavailable:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code == sqlite3.SQLITE_CORRUPT:
        return _damaged()
    name = getattr(error, "sqlite_errorname", None) or getattr(error, "strerror", None) or type(error).__name__
    full = code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in _FULL
    return (StorageFull if full else StorageUnavailable)(
        part="sqlite",
        reason=f"the copy that is made before the schema changes cannot be written ({name}); nothing was changed",
        hint="Free as much space beside the database as it takes, and give the user the right to write there",
    )


def _damaged() -> StorageCorrupt:
    return StorageCorrupt(
        part="sqlite",
        reason="the database file is damaged, so that its schema is left as it is",
        hint="Stop TMWS, keep a copy of the file, and restore the last backup",
    )
