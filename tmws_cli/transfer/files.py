"""Files that somebody else has put there: found in a folder, opened and read within bounds, whatever they are."""

import os
import platform
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

from tmws_core.errors import InvalidField

PAGE_BYTES = 16 * 1024 * 1024
"""The longest Markdown file: ten long books (decision)."""

_SUFFIXES = (".md", ".markdown")
_EXPORTS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
_DEPENDENCIES = frozenset({"node_modules", "bower_components", "venv", "site-packages"})
"""Folders where package managers put what others have written."""

_UNPRINTED = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""What a name may hold and no label can: controls, and the bytes that are no UTF-8."""


def is_markdown(name: str) -> bool:
    """Tell by its name whether a file holds Markdown."""
    return name.lower().endswith(_SUFFIXES)


def label(path: str) -> str:
    """Return a path as a text that can be stored and shown on one line, the same however accents are encoded."""
    return _UNPRINTED.sub("\ufffd", composed(path))


def composed(path: str) -> str:
    """Return a path as most systems write it; macOS and its archives write accents as characters of their own."""
    return unicodedata.normalize("NFC", path)


def place_of(path: Path) -> str:
    """Return what tells a file from others, also after a system that encodes accents otherwise has copied it.

    Bytes of its name that are no UTF-8 are escaped, since no JSON can hold them.
    """
    real = composed(os.path.realpath(path)).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"{platform.node()}:{real}"


def found_path(path: Path) -> Path:
    """Return the path of what is there, if its name is the same but for how accents are encoded."""
    if path.exists() or not path.parent.is_dir():
        return path
    alike = (each for each in path.parent.iterdir() if composed(each.name) == composed(path.name))
    return next(alike, path)


@attrs.define
class Found:
    """What is in a folder and below, by its names: Markdown, and files that other programs may have exported.

    Beside these: `others`, which are named otherwise, folders of `dependencies`, those that cannot be read, and links
    to folders that lie elsewhere.
    """

    pages: list[Path] = attrs.field(factory=list)
    exports: list[Path] = attrs.field(factory=list)
    others: list[Path] = attrs.field(factory=list)
    dependencies: list[Path] = attrs.field(factory=list)
    unreadable: list[OSError] = attrs.field(factory=list)
    elsewhere: list[Path] = attrs.field(factory=list)


def found_below(folder: Path) -> Found:
    """Find what is named like Markdown or an export, hidden names and dependencies left out.

    Links to folders are not followed: what lies below is found where it is. A link to anything else is found, wherever
    it leads.
    """
    found = Found()
    root = folder.resolve()
    for place, folders, files in os.walk(folder, onerror=found.unreadable.append):
        found.dependencies += [Path(place, name) for name in folders if name in _DEPENDENCIES]
        folders[:] = [name for name in folders if not is_left_out(name)]
        links = [Path(place, name) for name in folders if Path(place, name).is_symlink()]
        shown = [name for name in files if not name.startswith(".")]
        found.pages += [Path(place, name) for name in shown if is_markdown(name)]
        found.exports += [Path(place, name) for name in shown if _is_export(name)]
        found.others += [Path(place, name) for name in shown if not is_markdown(name) and not _is_export(name)]
        found.pages += [link for link in links if is_markdown(link.name)]
        found.elsewhere += [link for link in links if not is_markdown(link.name) and not _is_seen(link.resolve(), root)]
    found.pages.sort()
    found.exports.sort()
    return found


def _is_seen(folder: Path, root: Path) -> bool:
    """Tell whether a folder lies in another one, and neither it nor what it lies in is left out."""
    return folder.is_relative_to(root) and not any(map(is_left_out, folder.relative_to(root).parts))


def is_left_out(name: str) -> bool:
    """Tell whether a part of a path is hidden, or a folder of dependencies: nothing there is read."""
    return name.startswith(".") or name in _DEPENDENCIES


def _is_export(name: str) -> bool:
    return name.lower().endswith(_EXPORTS)


def size_of(path: Path) -> int:
    """Return the size of a file, 0 if it cannot be looked at."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def check_regular(path: Path) -> int:
    """Return the size of a file that the user has named.

    Raises:
        InvalidField: it is no regular file.
        OSError: it cannot be looked at.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InvalidField(
            name="path", reason=f"{label(str(path))} is no regular file", hint="Give `-`, and pipe it to stdin"
        )
    return found.st_size


@contextmanager
def opened(path: Path, within: Path) -> Iterator[BinaryIO]:
    """Open a regular file in or below a folder for reading; never waits, and lets no link lead out of the folder.

    Raises:
        InvalidField: it is something else, or somewhere else.
        OSError: it cannot be opened.
    """
    real = Path(os.path.realpath(path, strict=True))
    root = Path(os.path.realpath(within, strict=True))
    if not real.is_relative_to(root):
        raise InvalidField(name="file", reason="is a link that leads out of the folder", hint="Copy the file there")
    if not stat.S_ISREG(real.stat().st_mode):  # opening a device can already do something
        raise _irregular()
    with os.fdopen(_descend(root, real.relative_to(root)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _irregular()
        yield file


def read_page(path: Path, within: Path) -> bytes:
    """Return all that such a file holds.

    Raises:
        InvalidField: it is something else, somewhere else, too long, or being written.
        OSError: it cannot be read.
    """
    with opened(path, within) as file:
        before = os.fstat(file.fileno())
        raw = file.read(PAGE_BYTES + 1) if before.st_size <= PAGE_BYTES else b""
        after = os.fstat(file.fileno())
    if max(before.st_size, len(raw)) > PAGE_BYTES:
        raise InvalidField(name="file", reason=f"is longer than {PAGE_BYTES} bytes", hint="Split it")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InvalidField(name="file", reason="was changed while it was read", hint="Import it again")
    return raw


def _descend(root: Path, below: Path) -> int:
    """Open a path folder by folder, so that none of them can become a link meanwhile."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in below.parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(below.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def _irregular() -> InvalidField:
    return InvalidField(name="file", reason="is no regular file")
