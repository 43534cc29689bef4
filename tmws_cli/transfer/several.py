"""Several files one after the other: those that the user has named, or what is in a folder."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import attrs

from tmws_cli.output import counted
from tmws_cli.transfer.files import Found, label, opened, size_of
from tmws_cli.transfer.importing import Source
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.recognising import CONVERSATIONS, Stream
from tmws_cli.transfer.records import Continuation, Item, Record, Skip, contained
from tmws_core.errors import InvalidField

NAMED = 3
"""Files of other kinds that are named; a project may have thousands."""

_LOOKED_AT = 20
"""What is read of a file before it is said to hold memories, or nothing that can be imported (decision)."""

_UNNAMED = (
    "file that may hold memories: name it by itself to import it",
    "files that may hold memories: name them by themselves to import them",
)
_OTHERS = ("file of another kind", "files of other kinds")


@attrs.define(kw_only=True)
class Export:
    """The memories of a file, which is opened and recognised when it is read; `place` is what it is called for people.

    What was only `found` in a folder is taken if it is the dump of a program, by its shape, or our own export; beside
    Markdown, if it holds conversations. `passed_over` says why it was not, where one line says so of all of them.
    """

    path: Path
    within: Path
    place: str
    total: int
    ignore_unknown: bool
    format: str = "auto"
    encoding: str | None = None
    found: bool = False
    beside_markdown: bool = False
    passed_over: tuple[str, str] | None = attrs.field(default=None, init=False)
    _source: Source | None = attrs.field(default=None, init=False)
    _is_read: bool = attrs.field(default=False, init=False)

    @property
    def position(self) -> int:
        """Return the bytes that were read."""
        if self._is_read:
            return self.total
        return 0 if self._source is None else self._source.position

    def __iter__(self) -> Iterator[Item]:
        yield from contained(self.place, self._items())
        self._is_read = True

    def _items(self) -> Iterator[Item]:
        with opened(self.path, self.within) as file:
            try:
                stream = Stream(self.path, file, self.total, self.ignore_unknown, self.encoding)
                recognised = stream.recognised(self.format)
            except InvalidField:
                if not self.found:
                    raise
                if not self.beside_markdown:
                    yield Skip(place=self.place, reason="holds no memories")
                else:
                    self.passed_over = _OTHERS
                return
            is_taken = recognised.format in CONVERSATIONS if self.beside_markdown else recognised.is_dump
            if self.found and not is_taken:
                holds = any(isinstance(item, Record) for item in islice(recognised.source, _LOOKED_AT))
                self.passed_over = _UNNAMED if holds else _OTHERS
                return
            self._source = recognised.source
            for item in self._source:
                yield self._placed(item)

    def _placed(self, item: Item) -> Item:
        """Return an item with the file that it stands in."""
        if isinstance(item, Skip) and item.number:
            return item
        told = attrs.evolve(item, place=f"{self.place}, {item.place}")
        return attrs.evolve(told, file=str(self.path)) if isinstance(told, Record | Continuation) else told


@attrs.frozen
class _Rest:
    """Says in one line each which folders of dependencies and which files were passed over before; reads nothing."""

    _folder: Path
    _found: Found
    _exports: Sequence[Export]
    total: int = 0
    position: int = 0

    def __iter__(self) -> Iterator[Item]:
        unnamed, others = (
            [each.path for each in self._exports if each.passed_over is reason] for reason in (_UNNAMED, _OTHERS)
        )
        yield from self._told(self._found.dependencies, "folder of dependencies", "folders of dependencies")
        yield from self._told(unnamed, *_UNNAMED)
        yield from self._told([*self._found.others, *others], *_OTHERS)

    def _told(self, paths: Sequence[Path], one: str, several: str) -> Iterator[Skip]:
        names = [label(path.relative_to(self._folder).as_posix()) for path in sorted(paths)[:NAMED]]
        if names:
            yield Skip(place=", ".join(names) + ", …" * (len(paths) > NAMED), reason=counted(len(paths), one, several))


@attrs.frozen
class Several:
    """The memories of several sources, in order; the total is unknown if that of one of them is."""

    sources: Sequence[Source]

    @property
    def total(self) -> int | None:
        """Return the bytes that there are."""
        totals = [source.total for source in self.sources]
        return None if None in totals else sum(total or 0 for total in totals)

    @property
    def position(self) -> int:
        """Return the bytes that were read."""
        return sum(source.position for source in self.sources)

    def __iter__(self) -> Iterator[Item]:
        for source in self.sources:
            yield from source


def in_folder(folder: Path, *, ignore_unknown: bool, encoding: str | None = None) -> Several:
    """Return what is in a folder and below: Markdown, and what other programs have exported.

    Beside Markdown these are conversations alone, elsewhere what has the shape of a program's dump: any other file with
    texts may be about anything, and is named at the end.
    """
    pages = MarkdownPages.at(folder, ignore_unknown=ignore_unknown, encoding=encoding)
    exports = [
        Export(
            path=path,
            within=folder,
            place=label(path.relative_to(folder).as_posix()),
            total=size_of(path),
            ignore_unknown=ignore_unknown,
            encoding=encoding,
            found=True,
            beside_markdown=bool(pages.pages),
        )
        for path in pages.found.exports
    ]
    return Several([pages, *exports, _Rest(folder, pages.found, exports)])


def pages_in(source: Source) -> list[MarkdownPages]:
    """Return those of the sources that are Markdown."""
    if isinstance(source, Several):
        return [pages for each in source.sources for pages in pages_in(each)]
    return [source] if isinstance(source, MarkdownPages) else []
