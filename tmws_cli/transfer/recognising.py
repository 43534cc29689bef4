"""What a file is, told by how it begins, whatever it is called."""

import errno
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import attrs
import orjson

from tmws_cli.transfer.documents import JsonDocument
from tmws_cli.transfer.files import label, opened, place_of
from tmws_cli.transfer.formats.known import PROGRAMS, TRANSCRIPTS, format_of
from tmws_cli.transfer.importing import Source
from tmws_cli.transfer.lines import JsonLines
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.records import HISTORY_OF
from tmws_cli.transfer.tables import CsvTable, delimiter_in
from tmws_core.errors import InvalidField

HEAD_BYTES = 64 * 1024
"""What is looked at; the names of an object stand at its beginning, however long it is."""

_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_TOKEN = re.compile(rb'"((?:[^"\\]++|\\.)*+)("|\\?\Z)(\s*+:)?|[{}\[\]]', re.DOTALL)
"""A text that does not end is one, too: those that seem to begin within it are not looked for one by one."""

_IN_ARRAYS = (b"[{", b"{[{", b"{{[{")
"""What is open around the names of an element: also the answers of programs, and their `data`, hold arrays."""

_MARKDOWN = re.compile(rb"\s*(?:(?:---|\+\+\+)[ \t]*\r?\n|#{1,6}[ \t]+\S)")
_CONTAINERS = {
    b"PK\x03\x04": "an archive: unpack it, and name the file in it",
    b"\x1f\x8b": "compressed: unpack it first",
    b"SQLite format 3\0": "a database: let the program that it belongs to export it",
}
_OURS = "TMWS"
_OWN_BEGINNING = frozenset({"memory_id", "content"})
_LONG = frozenset({"ChatGPT", "Claude"})
"""Programs whose objects are too long for lines."""

CONVERSATIONS = _LONG | TRANSCRIPTS.keys()
"""Programs whose dumps are taken beside Markdown, too."""


def is_own_export(path: Path) -> bool:
    """Tell whether a regular file begins like JSON lines that we exported, whatever it is called."""
    with suppress(OSError), opened(path, path.resolve().parent) as file:
        head = file.read(HEAD_BYTES)
        return head.startswith(b"{") and _outline(head)[0] >= _OWN_BEGINNING
    return False


@attrs.frozen
class Recognised:
    """A source, what it is called for people, and whether it `is_dump`: has the shape that a program, or we, write."""

    source: Source
    format: str
    is_dump: bool = False


@attrs.define
class Stream:
    """An open file, whose beginning is looked at before it is read; `path` is None for stdin.

    `encoding` is the name of a codec, None for UTF-8, or UTF-16 that says so.
    """

    path: Path | None
    file: BinaryIO
    total: int | None
    ignore_unknown: bool
    encoding: str | None = None
    head: bytes = b""

    def recognised(self, format_: str) -> Recognised:
        """Return what the file holds, in the format that the user has named, or `auto`.

        Raises:
            InvalidField: it holds nothing that can be imported.
        """
        self._look()
        begins = self.head.lstrip()
        if format_ == "jsonl" or (format_ == "auto" and not begins):
            return self._lines(_OURS)
        if format_ == "csv":
            return self._table(delimiter_in(self.head) or ",")
        is_json = format_ == "json" or begins[:1] in (b"{", b"[")
        found = self._json(begins, asked=format_ == "json") if is_json else self._text()
        if found is None:
            raise self._nothing()
        return found

    def _look(self) -> None:
        """Read the beginning, and let the file begin with it again: in UTF-8, and without a mark of that.

        Raises:
            OSError: it cannot be read, or is not in the encoding that it is said to have.
        """
        if self.encoding is not None:
            self.file = cast("BinaryIO", io.BufferedReader(_Recoded(self.file, self.encoding, "strict")))
        while len(self.head) < HEAD_BYTES and _name_in_lines(self.head) is None:
            more = self.file.read1(HEAD_BYTES)  # type: ignore[attr-defined]  # each of these files is buffered
            if not more:
                break
            self.head += more
        if self.head.startswith(_WIDE):
            wide = _behind(self.head, self.file)
            self.file = cast("BinaryIO", io.BufferedReader(_Recoded(wide, "utf-16", "replace")))
            self.head = self.head[: len(self.head) // 2 * 2].decode("utf-16", errors="replace").encode()
        else:
            self.head = self.head.removeprefix(_BOM)
            self.file = _behind(self.head, self.file)

    def _json(self, begins: bytes, *, asked: bool) -> Recognised | None:
        outer, inner = _outline(begins)
        is_object = begins.startswith(b"{")
        name = _name_of(outer) if is_object else None
        within = _name_of(inner)
        if is_object and name is None and within:
            return self._document(within, opened=True)
        if is_object and name not in _LONG and (name in TRANSCRIPTS or _is_in_lines(begins)):
            name = name or _name_in_lines(begins)
            if name:
                return self._lines(name)
        if name or (within and not is_object) or asked:
            return self._document(name or within or _OURS, opened=is_object and name is None)
        return None

    def _text(self) -> Recognised | None:
        name = _name_in_lines(self.head)
        if name is not None:
            return self._lines(name)
        if b"\0" in self.head:
            return None
        if self.path is not None and _MARKDOWN.match(self.head):
            pages = MarkdownPages.at(self.path, ignore_unknown=self.ignore_unknown, encoding=self.encoding)
            return Recognised(pages, "Markdown")
        delimiter = delimiter_in(self.head)
        return None if delimiter is None else self._table(delimiter)

    @property
    def _place(self) -> str | None:
        return None if self.path is None else place_of(self.path)

    def _lines(self, name: str) -> Recognised:
        turns = TRANSCRIPTS[name]() if name in TRANSCRIPTS else None
        return self._of(JsonLines(self.file, self.total, self.ignore_unknown, self._place, turns), name)

    def _table(self, delimiter: str) -> Recognised:
        return Recognised(CsvTable(self.file, self.total, delimiter, self._place), "CSV")

    def _document(self, name: str, *, opened: bool) -> Recognised:
        source = JsonDocument.of(
            self.file, self.total, ignore_unknown=self.ignore_unknown, opened=opened, place=self._place
        )
        return self._of(source, name)

    def _of(self, source: Source, name: str) -> Recognised:
        is_own = name == _OURS and any(names >= _OWN_BEGINNING for names in _outline(self.head.lstrip()))
        return Recognised(source, name, is_own or name in PROGRAMS)

    def _nothing(self) -> InvalidField:
        reason = next((what for mark, what in _CONTAINERS.items() if self.head.startswith(mark)), None)
        if reason is None and self.head.lstrip()[:1] in (b"{", b"["):
            reason = "JSON, but its objects have no text under a name that is known, such as `content`"
        elif reason is None and b"\0" in self.head:
            reason = "no text"
        name = label(str(self.path)) if self.path else "stdin"
        hint = "`--format markdown` takes it as a note" if reason is None else ""
        reason = reason or "neither JSON, nor CSV with a column such as `content`, nor a note with front matter"
        return InvalidField(name="path", reason=f"{name} holds no memories: it is {reason}", hint=hint)


class _Again(io.RawIOBase):
    """A stream that gives back what was read of it before it goes on."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._head[: len(buffer)] or self._rest.read1(len(buffer))  # type: ignore[attr-defined]
        self._head = self._head[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


class _Recoded(io.RawIOBase):
    """A stream of another encoding, as UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str, errors: str) -> None:
        self._text = io.TextIOWrapper(file, encoding, errors=errors, newline="")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            raw = self._rest or self._text.read(len(buffer)).encode("utf-8", "replace")
        except UnicodeError as error:
            raise OSError(errno.EILSEQ, f"it is not in {self._text.encoding}, as --encoding says") from error
        taken, self._rest = raw[: len(buffer)], raw[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _behind(head: bytes, file: BinaryIO) -> BinaryIO:
    """Return a file as if what was read of it had not been."""
    if file.seekable():
        file.seek(-len(head), io.SEEK_CUR)
        return file
    return io.BufferedReader(_Again(head, file))


def _name_of(keys: frozenset[str]) -> str | None:
    """Return who writes objects with these names, or None if they hold no text."""
    found = format_of(keys)
    return found.name if found else (_OURS if keys & {"content", HISTORY_OF} else None)


def _is_in_lines(begins: bytes) -> bool:
    """Tell whether an object ends with its line, or is torn off there within a text; otherwise it goes on behind it."""
    first = begins.split(b"\n", 1)[0]
    return _holds_object_lines(first) or (_is_torn(first) and _holds_object_lines(begins))


def _is_torn(line: bytes) -> bool:
    return any(token[2] not in (None, b'"') for token in _TOKEN.finditer(line))


def _holds_object_lines(head: bytes) -> bool:
    """Tell whether one of the lines is an object by itself."""
    return any(True for _ in _object_lines(head))


def _name_in_lines(head: bytes) -> str | None:
    """Return who writes the objects in lines of their own, as in `_name_of`."""
    return next(filter(None, map(_name_of, _object_lines(head))), None)


def _object_lines(head: bytes) -> Iterator[frozenset[str]]:
    """Yield the names of each object that is a line by itself."""
    for line in head.splitlines():
        if line.lstrip().startswith(b"{"):
            with suppress(orjson.JSONDecodeError):
                yield frozenset(orjson.loads(line))


def _outline(head: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the first object, and of the first one in an array that it holds, or that is the file."""
    around = b""
    outer: set[str] = set()
    inner: set[str] = set()
    for token in _TOKEN.finditer(head):
        if token[0] in (b"{", b"["):
            around += token[0]
        elif token[0] in (b"}", b"]"):
            if around == b"{" or (around in _IN_ARRAYS and inner):
                break
            around = around[:-1]
        elif token[3] is not None and around in (b"{", *_IN_ARRAYS):
            (outer if around == b"{" else inner).add(token[1].decode(errors="replace"))
    return frozenset(outer), frozenset(inner)
