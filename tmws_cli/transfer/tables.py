"""CSV: one memory a row, with the columns that its first row names."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, TextIO

import attrs
import orjson

from tmws_cli.transfer.elements import ELEMENT_BYTES
from tmws_cli.transfer.formats.entries import MEANT, TITLES, Entry, below_title
from tmws_cli.transfer.records import NO_UTF8, Item, Refusal, contained, reason_of
from tmws_core.domain.words import words_in
from tmws_core.doubles import faithful

TEXTS = ("content", "memory", "text", "note", "body", "message", "fact", "observation", "description", "value")
"""Columns that hold the text, in the order in which they are looked for."""

_TAGS = ("tags", "tag")
_IDENTITIES = ("id", "memory_id", "uuid", "key")
_MEANT_HERE = MEANT | {"session_id", "sequence", "source", "namespace"}
_DELIMITERS = ",;\t|"
_NOT_IN_A_NAME = re.compile(r"[\s-]+")
_LINE_END = re.compile(r"\r\n?|\n")
_SEPARATOR = re.compile(r'"?sep=([^\s"]|\t)"?', re.IGNORECASE)
"""The line with which Excel is told what separates columns."""

_BETWEEN_TAGS = re.compile(r"[;|]")


def delimiter_in(head: bytes) -> str | None:
    """Return what separates the columns of a file that begins so, or None if none of them holds a text."""
    lines = (line for line in _LINE_END.split(head.decode(errors="replace")) if line.strip())
    first = next(lines, "")
    said = _SEPARATOR.fullmatch(first)
    first = next(lines, "") if said else first
    for delimiter in said[1] if said else _DELIMITERS:
        with suppress(csv.Error):
            names = {_plain(name) for row in _reader([first], delimiter) for name in row}
            if names & {*TEXTS} and (len(names) > 1 or first.strip('"').isalpha()):
                return delimiter
    return None


@attrs.define
class CsvTable:
    """The memories of an open file in UTF-8; `total` counts the bytes that there are."""

    _file: BinaryIO
    total: int | None
    _delimiter: str
    _file_place: str | None

    @property
    def position(self) -> int:
        """Return the bytes that were read, as far as that is known."""
        return self._file.tell() if self._file.seekable() else 0

    def __iter__(self) -> Iterator[Item]:
        csv.field_size_limit(ELEMENT_BYTES + 1)  # of the whole process, in which nothing else reads CSV
        text = io.TextIOWrapper(self._file, "utf-8-sig", errors="surrogateescape", newline="")
        rows = _Rows(text)
        names: list[str] | None = None
        try:
            for row in rows.read(self._delimiter):
                if isinstance(row, Refusal):
                    yield row
                    if names is None:
                        return
                elif not any(cell.strip() for cell in row):
                    continue
                elif names is None:
                    said = _SEPARATOR.fullmatch(self._delimiter.join(row))
                    names = None if said else [cell.strip() for cell in row]
                else:
                    yield from contained(rows.place, _items(rows.place, names, row, self._file_place))
        except (OSError, UnicodeError) as error:
            yield Refusal(place=f"behind {rows.place}", reason=reason_of(error))
        finally:
            text.detach()


@attrs.define
class _Rows:
    """The rows of a table, which have several lines where a quoted cell has; `place` is where the present one begins.

    As an iterator, it gives the lines of the present one to what takes them apart.
    """

    _text: TextIO
    _number: int = attrs.field(default=0, init=False)
    _lines: list[str] = attrs.field(factory=list, init=False)
    _room: int = attrs.field(default=ELEMENT_BYTES + 1, init=False)
    _is_open: bool = attrs.field(default=False, init=False)

    @property
    def place(self) -> str:
        return f"line {self._number - max(len(self._lines) - 1, 0)}"

    def read(self, delimiter: str) -> Iterator[list[str] | Refusal]:
        """Yield the rows; one that does not end is the last, since what stands behind it may be within a cell."""
        cells = _reader(self, delimiter)
        while (row := next(cells, None)) is not None:
            problem = self._problem(delimiter)
            yield Refusal(place=self.place, reason=problem) if problem else row
            self._lines = []
            self._room = ELEMENT_BYTES + 1 if self._room else 0

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._room)
        if not line:
            self._is_open = bool(self._lines)
            raise StopIteration
        self._number += 1
        self._room -= len(line)
        self._lines.append(line)
        return line

    def _problem(self, delimiter: str) -> str:
        if not self._room:
            return f"is longer than {ELEMENT_BYTES} bytes: nothing behind it is read"
        if self._is_open:
            return "opens a quotation mark that nothing closes: nothing behind it is read"
        try:
            "".join(self._lines).encode()
        except UnicodeEncodeError:  # bytes that are no UTF-8
            return NO_UTF8
        if len(self._lines) > 1 and not _is_strict(self._lines, delimiter):
            return f"has quotation marks that do not match, up to line {self._number}"
        return ""


def _reader(lines: Iterable[str], delimiter: str, *, strict: bool = False) -> Iterator[list[str]]:
    """Take lines apart; blanks before a cell are no part of it, so that one may be quoted behind them."""
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)


def _is_strict(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether quotation marks open and close whole cells; another one may have swallowed rows."""
    try:
        return len(list(_reader(lines, delimiter, strict=True))) == 1
    except csv.Error:
        return False


def _items(place: str, names: Sequence[str], row: Sequence[str], file: str | None) -> Iterator[Item]:
    told: dict[str, Any] = {}
    for number, cell in enumerate(row):
        name = names[number] if number < len(names) and names[number] else f"column {number + 1}"
        plain = _plain(name)
        if cell.strip():
            value, known = _value(plain, cell), plain if plain in _KNOWN else name
            if known in told and plain in _TAGS:
                told[known] = [*_words(told[known]), *_words(value)]
            else:
                told[f"{name} (column {number + 1})" if known in told else known] = value
    content = below_title(next((told.pop(name) for name in TEXTS if name in told), None), told)
    identity = next((str(told[name]) for name in _IDENTITIES if name in told), None)
    entry = Entry(program="csv", is_known=False, content=content, identity=identity, told=told, meant=_MEANT_HERE)
    yield from entry.items(place, file)


_KNOWN = {*TEXTS, *TITLES, *_IDENTITIES, *_MEANT_HERE, *_TAGS, "metadata", "date", "created", "created_at", "timestamp"}


def _value(name: str, cell: str) -> Any:
    if name in (*_TAGS, "metadata"):
        with suppress(orjson.JSONDecodeError):
            return faithful(cell.encode(), orjson.loads(cell))
    return _BETWEEN_TAGS.sub(",", cell) if name in _TAGS else cell


def _words(tags: Any) -> list[Any]:
    words = words_in(tags) if isinstance(tags, str) else tags
    return words if isinstance(words, list) else [tags]


def _plain(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name.strip().lower())
