"""A Markdown file, or a folder of them, as memories: one a section, or one a file where we exported it."""

import codecs
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from tmws_cli.transfer.blocks import HEADING_CHARACTERS
from tmws_cli.transfer.files import (
    Found,
    check_regular,
    found_below,
    found_path,
    is_left_out,
    label,
    place_of,
    read_page,
    size_of,
)
from tmws_cli.transfer.formats import basic_memory
from tmws_cli.transfer.front import FrontMatter, front_matter_of, readable
from tmws_cli.transfer.inline import with_inline
from tmws_cli.transfer.labels import shared_fields
from tmws_cli.transfer.markdown import SECTION_BYTES, Section, sections, taken_apart
from tmws_cli.transfer.records import (
    HISTORY_OF,
    NO_TEXT,
    Item,
    Record,
    Refusal,
    Skip,
    contained,
    continuation_of,
    reason_of,
    record_of,
)
from tmws_core.errors import InvalidField

OWN_FORMAT = "tmws"
"""The name in the front matter of a file that we exported; its value is the version of the format, 1."""

_LABEL_CHARACTERS = 256
"""What a session id or a source may have, and a name is shown with."""


@attrs.define
class MarkdownPages:
    """The memories of the Markdown files at or below a path, in the order of their names.

    `position` counts the bytes that were read, `total` those there are.
    """

    _root: Path
    _found: Found
    _whole: bool
    total: int
    _ignore_unknown: bool
    _encoding: str | None
    position: int = attrs.field(default=0, init=False)
    _sections: dict[str, set[str] | None] = attrs.field(factory=dict, init=False)

    @property
    def pages(self) -> int:
        """Count the files."""
        return len(self._found.pages)

    @property
    def found(self) -> Found:
        """Return what else is there."""
        return self._found

    @classmethod
    def at(cls, path: Path, *, ignore_unknown: bool, encoding: str | None = None) -> "MarkdownPages":
        """Find the files, hidden ones and those in hidden folders left out; `encoding` as in Stream.

        Raises:
            InvalidField: the path itself is neither a folder nor a regular file.
            OSError: it is not there.
        """
        if path.is_dir():
            found = found_below(path)
            total = sum(map(size_of, found.pages))
            return cls(path, found, True, total, ignore_unknown, encoding)  # noqa: FBT003 - attrs' order
        size = check_regular(path)
        path = path.parent.resolve() / path.name if not path.is_symlink() else path.resolve()
        found = Found(pages=[path])
        return cls(path.parent, found, False, size, ignore_unknown, encoding)  # noqa: FBT003 - attrs' order

    def __iter__(self) -> Iterator[Item]:
        for error in self._found.unreadable:
            yield Refusal(place=self._place(Path(error.filename)), reason=reason_of(error))
        for link in self._found.elsewhere:
            yield Skip(place=self._place(link), reason="is a link to a folder elsewhere: import that folder, too")
        for path in self._found.pages:
            page = self._name(path)
            keys: set[str] | None = set()
            self._sections[page] = None
            for item in contained(self._place(path), self._page(path, page)):
                if isinstance(item, Refusal):
                    keys = None
                elif isinstance(item, Record) and item.request.idempotency_key is not None and keys is not None:
                    keys.add(item.request.idempotency_key)
                yield item
            self._sections[page] = keys

    def lacks(self, page: str, key: str) -> bool:
        """Tell whether a section is not there any more, of a page that was read whole, or is not there either.

        Of a page that lies where nothing is read, or is there and was not read, such as one in a hidden folder or of
        another name, nothing is known.
        """
        if page in self._sections:
            keys = self._sections[page]
            return keys is not None and key not in keys
        below = _below(page, self._root) if self._whole else None
        if below is None or any(map(is_left_out, Path(below).parts)):
            return False
        unread = (Path(error.filename) for error in self._found.unreadable)
        return all(_below(page, folder) is None for folder in unread) and not may_be_there(page)

    def _place(self, path: Path) -> str:
        return label(path.relative_to(self._root).as_posix())

    def _page(self, path: Path, page: str) -> Iterator[Item]:
        raw = read_page(path, self._root)
        self.position += len(raw)
        whole = _decoded(raw, self._encoding)
        place = self._place(path)
        front, text = taken_apart(whole)
        if front.written.get(OWN_FORMAT) == ("1",):
            fields = {name: value for name, value in front.values.items() if name != OWN_FORMAT}
            if HISTORY_OF in fields:
                yield continuation_of(place, fields)
                return
            yield self._record(place, fields | {"content": text.removeprefix("\n").removesuffix("\n")})
            return
        if basic_memory.is_note(front.values):
            front, text = basic_memory.with_own_below(front, text)
        if front.as_text:
            first = label(front.as_text[0][:_LABEL_CHARACTERS]) + ", …" * (len(front.as_text) > 1)
            yield Skip(place=f"{place}, {first}", reason="is no YAML, and is stored as the text that is written")
        above = whole.count("\n") - text.count("\n")
        yield from self._notes(place, page, above, _Note.of(place, front, readable(text)))

    def _notes(self, place: str, page: str, above: int, note: "_Note") -> Iterator[Item]:
        found = list(note.sections())
        for section, nth, number in _placed(found):
            spot = "\0".join((page, str(nth), *section.place))
            fields = note.fields(place, number, section)
            yield from contained(f"{place}:{above + section.line}", self._section(place, fields, page, spot))
        if not found:
            yield Skip(place=place, reason=NO_TEXT)

    def _section(self, place: str, fields: dict[str, Any], page: str, spot: str) -> Iterator[Record]:
        yield attrs.evolve(self._record(place, fields, edition_of=spot), page=page)

    def _record(self, place: str, fields: dict[str, Any], edition_of: str | None = None) -> Record:
        return record_of(place, fields, ignore_unknown=self._ignore_unknown, edition_of=edition_of)

    def _name(self, path: Path) -> str:
        """Return what tells a page from others."""
        name = place_of(path)
        return name if name not in self._sections else f"{name}\0"  # where both stand side by side, they are two


@attrs.frozen
class _Note:
    """A page of another program: what it is called, what its front matter says, and its text."""

    _title: str
    _front: FrontMatter
    _shared: dict[str, Any]
    _text: str

    @property
    def _is_basic(self) -> bool:
        return basic_memory.is_note(self._front.values)

    @classmethod
    def of(cls, place: str, front: FrontMatter, text: str) -> "_Note":
        return cls(_title(place, front.values.get("title"), text), front, shared_fields(front), text)

    def sections(self) -> Iterator[Section]:
        """Yield its sections; a page without any has its properties.

        The title alone is none where others have a text: it begins each of them.
        """
        if self._text.strip():
            found = list(sections(self._text))
            if any(each.text for each in found):
                found = [each for each in found if each.text or each.headings != (self._title,)]
            for section in found:
                yield from basic_memory.parts(section) if self._is_basic else (section,)
        elif self._front.values:
            yield Section(headings=(), text=front_matter_of(self._front.values)[:SECTION_BYTES].rstrip(), line=1)

    def fields(self, place: str, number: int, section: Section) -> dict[str, Any]:
        names = section.headings[1:] if section.headings[:1] == (self._title,) else section.headings
        path = " > ".join((self._title, *names))
        own = {
            "content": f"{path}\n\n{section.text}" if section.text else path,
            "source": f"{place}#{section.anchor}"[-_LABEL_CHARACTERS:],
            "session_id": place[-_LABEL_CHARACTERS:],
            "sequence": number,
        }
        said = basic_memory.said(section.text) if self._is_basic else {}
        metadata = {"metadata": {**said, **self._shared.get("metadata", {})}} if said else {}
        return with_inline(self._shared | own | metadata, section.text)


def _placed(found: Sequence[Section]) -> Iterator[tuple[Section, int, int]]:
    """Yield each section, which one of its headings it is, from 0, and its number in the page.

    Headings alone count behind those of the same name that have a text, and have the number of the text before them:
    where earlier versions left them out, what has a text keeps its place.
    """
    with_text: Counter[tuple[str, ...]] = Counter(each.place for each in found if each.text)
    alone = Counter(with_text)
    seen: Counter[tuple[str, ...]] = Counter()
    number = -1
    for section in found:
        counted = seen if section.text else alone
        number += bool(section.text or not with_text)
        yield section, counted[section.place], max(number, 0)
        counted[section.place] += 1


def may_be_there(page: str) -> bool:
    """Tell whether a page is a file of this machine, or one of another machine, of which nothing is known."""
    machine, _, path = page.rstrip("\0").partition(":")
    return machine != platform.node() or found_path(Path(path)).exists()


def _below(page: str, folder: Path) -> str | None:
    """Return the path of a page within a folder of this machine, or None if it lies elsewhere."""
    start = f"{place_of(folder)}{os.sep}"
    return page.removeprefix(start) if page.startswith(start) else None


def _decoded(raw: bytes, encoding: str | None) -> str:
    """Return the text of a file: in the encoding, or in UTF-8, or UTF-16 where it says so.

    Raises:
        InvalidField: it holds a NUL, which no text does.
        UnicodeDecodeError: it is neither.
    """
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = raw.decode(encoding or ("utf-16" if wide else "utf-8")).removeprefix("\ufeff")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidField(name="file", reason=f"holds a NUL in line {line}", hint="Save it as UTF-8")
    return text


def _title(place: str, given: object, text: str) -> str:
    """Return the name of a page: its own word for it, its first heading, or the name of the file."""
    if isinstance(given, str) and given.strip() and len(given) <= HEADING_CHARACTERS:
        return given
    first = next((section.headings[0] for section in sections(text) if any(section.headings)), None)
    return first or Path(place).stem
