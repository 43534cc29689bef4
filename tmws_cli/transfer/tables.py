"""CSV: one memory a row, with the columns that its first row names."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

import attrs
import orjson

from tmws_cli.transfer.formats.entries import MEANT, Entry
from tmws_cli.transfer.records import Item, Record, Refusal, contained, reason_of

TEXTS = ("content", "memory", "text", "note", "body", "message", "fact", "observation", "description", "value")
"""Columns that hold the text, in the order in which they are looked for."""

_IDENTITIES = ("id", "memory_id", "uuid", "key")
_MEANT_HERE = MEANT | {"session_id", "sequence", "source", "namespace"}
_DELIMITERS = ",;\t|"
_NOT_IN_A_NAME = re.compile(r"[\s-]+")
_SURROGATES = re.compile("[\udc80-\udcff]")
_BETWEEN_TAGS = re.compile(r"[;|]")


def delimiter_in(head: bytes) -> str | None:
    """Return what separates the columns of a file that begins so, or None if none of them holds a text."""
    text = head.decode(errors="replace")
    first = text.split("\n", 1)[0].rstrip("\r")
    for delimiter in _DELIMITERS:
        with suppress(csv.Error):
            names = {_plain(name) for row in csv.reader([first], delimiter=delimiter) for name in row}
            if names & {*TEXTS} and (len(names) > 1 or first.strip('"').isalpha()):
                return delimiter
    return None


@attrs.define
class CsvTable:
    """The memories of an open file in UTF-8; a cell that is none is read as Windows-1252.

    `total` counts the bytes that there are.
    """

    _file: BinaryIO
    total: int | None
    _delimiter: str
    _file_place: str | None

    @property
    def position(self) -> int:
        """Return the bytes that were read, as far as that is known."""
        return self._file.tell() if self._file.seekable() else 0

    def __iter__(self) -> Iterator[Item]:
        text = io.TextIOWrapper(self._file, "utf-8-sig", errors="surrogateescape", newline="")
        rows = csv.reader(text, delimiter=self._delimiter)
        names: list[str] | None = None
        try:
            while True:
                try:
                    row = next(rows, None)
                except csv.Error as error:
                    yield Refusal(place=f"line {rows.line_num}", reason=f"is no row: {error}")
                    continue
                if row is None:
                    break
                if names is None:
                    names = [cell.strip() for cell in row]
                elif any(cell.strip() for cell in row):
                    place = f"line {rows.line_num}"
                    yield from contained(place, _record(place, names, row, self._file_place))
        except (OSError, UnicodeError) as error:
            yield Refusal(place=f"behind line {rows.line_num}", reason=reason_of(error))
        finally:
            text.detach()


def _record(place: str, names: Sequence[str], row: Sequence[str], file: str | None) -> Iterator[Record]:
    told: dict[str, Any] = {}
    for number, cell in enumerate(row):
        name = names[number] if number < len(names) and names[number] else f"column {number + 1}"
        plain = _plain(name)
        if cell.strip():
            told[plain if plain in _KNOWN else name] = _value(plain, _decoded(cell))
    content = next((told.pop(name) for name in TEXTS if name in told), None)
    identity = next((str(told[name]) for name in _IDENTITIES if name in told), None)
    entry = Entry(program="csv", is_known=False, content=content, identity=identity, told=told, meant=_MEANT_HERE)
    yield entry.record(place, file)


_KNOWN = {*TEXTS, *_IDENTITIES, *_MEANT_HERE, "tags", "tag", "metadata", "date", "created", "created_at", "timestamp"}


def _value(name: str, cell: str) -> Any:
    if name in ("tags", "tag", "metadata"):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(cell)
    return _BETWEEN_TAGS.sub(",", cell) if name in ("tags", "tag") else cell


def _decoded(cell: str) -> str:
    """Return a cell; bytes that are no UTF-8 tell that it is what Windows programs write in the west."""
    if not _SURROGATES.search(cell):
        return cell
    return cell.encode("utf-8", "surrogateescape").decode("cp1252", errors="replace")


def _plain(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name.strip().lower())
