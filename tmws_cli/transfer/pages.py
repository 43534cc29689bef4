"""A Markdown file, or a folder of them, as memories: one a section, or one a file where we exported it."""

import codecs
import platform
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tmws_cli.transfer.files import check_regular, label, markdown_below, read_page
from tmws_cli.transfer.front import readable
from tmws_cli.transfer.labels import shared_fields
from tmws_cli.transfer.markdown import HEADING_CHARACTERS, Section, sections, taken_apart
from tmws_cli.transfer.records import (
    HISTORY_OF,
    Item,
    Record,
    Refusal,
    contained,
    continuation_of,
    reason_of,
    record_of,
)
from tmws_core.errors import InvalidField

OWN_FORMAT = "tmws"
"""The name in the front matter of a file that we exported; its value is the version of the format, 1."""

_LABEL_CHARACTERS = 256
"""What a session id or a source may have."""


@attrs.define
class MarkdownPages:
    """The memories of the Markdown files at or below a path, in the order of their names.

    `position` counts the bytes that were read, `total` those there are.
    """

    _root: Path
    _paths: list[Path]
    _unreadable: list[OSError]
    total: int
    _ignore_unknown: bool
    position: int = attrs.field(default=0, init=False)

    @property
    def pages(self) -> int:
        """Count the files."""
        return len(self._paths)

    @classmethod
    def at(cls, path: Path, *, ignore_unknown: bool) -> "MarkdownPages":
        """Find the files, hidden ones and those in hidden folders left out.

        Raises:
            InvalidField: the path itself is neither a folder nor a regular file.
            OSError: it is not there.
        """
        if path.is_dir():
            paths, unreadable = markdown_below(path)
            return cls(path, paths, unreadable, sum(map(_size, paths)), ignore_unknown)
        size = check_regular(path)
        path = path.parent.resolve() / path.name if not path.is_symlink() else path.resolve()
        return cls(path.parent, [path], [], size, ignore_unknown)

    def __iter__(self) -> Iterator[Item]:
        for error in self._unreadable:
            yield Refusal(place=self._place(Path(error.filename)), reason=reason_of(error))
        for path in self._paths:
            yield from contained(self._place(path), self._page(path))

    def _place(self, path: Path) -> str:
        return label(path.relative_to(self._root).as_posix())

    def _page(self, path: Path) -> Iterator[Item]:
        raw = read_page(path, self._root)
        self.position += len(raw)
        page = _decoded(raw)
        place = self._place(path)
        front, text = taken_apart(page)
        if OWN_FORMAT in front.values:
            fields = {name: value for name, value in front.values.items() if name != OWN_FORMAT}
            if HISTORY_OF in fields:
                yield continuation_of(place, fields)
                return
            yield self._record(place, fields | {"content": text.removeprefix("\n").removesuffix("\n")})
            return
        shared = shared_fields(front)
        above = page.count("\n") - text.count("\n")
        text = readable(text)
        title = _title(place, front.values.get("title"), text)
        file = f"{platform.node()}:{path.resolve()}"
        seen: Counter[tuple[str, ...]] = Counter()
        for number, section in enumerate(sections(text)):
            spot = "\0".join((file, str(seen[section.headings]), *section.headings))
            seen[section.headings] += 1
            fields = shared | _own_fields(place, number, title, section)
            yield from contained(f"{place}:{above + section.line}", self._section(place, fields, spot))

    def _section(self, place: str, fields: dict[str, Any], spot: str) -> Iterator[Record]:
        yield self._record(place, fields, edition_of=spot)

    def _record(self, place: str, fields: dict[str, Any], edition_of: str | None = None) -> Record:
        return record_of(place, fields, ignore_unknown=self._ignore_unknown, edition_of=edition_of)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _decoded(raw: bytes) -> str:
    """Return the text of a file: UTF-8, or UTF-16 where it says so.

    Raises:
        InvalidField: it holds a NUL, which no text does.
        UnicodeDecodeError: it is neither.
    """
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = raw.decode("utf-16" if wide else "utf-8-sig")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidField(name="file", reason=f"holds a NUL in line {line}", hint="Save it as UTF-8")
    return text


def _own_fields(place: str, number: int, page: str, section: Section) -> dict[str, Any]:
    path = [page, *section.headings[1:]] if section.headings[:1] == (page,) else [page, *section.headings]
    return {
        "content": f"{' > '.join(path)}\n\n{section.text}",
        "source": f"{place}#{section.anchor}"[-_LABEL_CHARACTERS:],
        "session_id": place[-_LABEL_CHARACTERS:],
        "sequence": number,
    }


def _title(place: str, given: object, text: str) -> str:
    """Return the name of a page: its own word for it, its first heading, or the name of the file."""
    if isinstance(given, str) and given and len(given) <= HEADING_CHARACTERS:
        return given
    first = next((section.headings[0] for section in sections(text) if section.headings), None)
    return first or Path(place).stem
