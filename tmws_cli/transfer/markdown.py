"""Markdown: front matter, sections, and one file for one memory."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.transfer.blocks import Heading, read_lines
from tmws_cli.transfer.front import FrontMatter, front_matter_in, front_matter_in_toml, front_matter_of

SECTION_BYTES = 8 * 1024
"""The longest text of one section; a longer one becomes several, cut between paragraphs."""

_FRONT = re.compile(
    r"\A(?:---[ \t]*\r?\n(?P<yaml>.*?)^(?:---|\.\.\.)|\+\+\+[ \t]*\r?\n(?P<toml>.*?)^\+\+\+)[ \t]*\r?(?:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_SEAM = "\n\n"
"""Between two paragraphs."""

_NO_ANCHOR = re.compile(r"[^\w\- ]")


@attrs.frozen(kw_only=True)
class Section:
    """A piece of a page: the headings above it, outermost first, its own text, and the line where it begins, from 1."""

    headings: tuple[str, ...]
    text: str
    line: int

    @property
    def anchor(self) -> str:
        """Return the fragment that leads to the section where pages are shown."""
        return anchor(self.headings[-1]) if self.headings else ""

    @property
    def place(self) -> tuple[str, ...]:
        """Return what the keys of memories name it by: the headings as earlier versions read them, `C#` as `C`."""
        return tuple(name.rstrip("#").rstrip(" \t") for name in self.headings)


def taken_apart(page: str) -> tuple[FrontMatter, str]:
    """Return the front matter of a page, and the text below it.

    What stands between two such lines and has no names is text between two rules.

    Raises:
        InvalidField: the front matter is no YAML or TOML, or larger or deeper than one can be.
    """
    found = _FRONT.match(page)
    if found is None:
        return FrontMatter(), page
    front = front_matter_in(found["yaml"]) if found["toml"] is None else front_matter_in_toml(found["toml"])
    return (FrontMatter(), page) if front is None else (front, page[found.end() :])


def split_front_matter(page: str) -> tuple[dict[str, Any], str]:
    """Return the front matter of a page as JSON values, and the text below it; errors as in `taken_apart`."""
    front, text = taken_apart(page)
    return dict(front.values), text


def with_front_matter(values: Mapping[str, Any], text: str) -> str:
    """Return a page that `split_front_matter` takes apart again; a line break at the end of the text is added."""
    return f"---\n{front_matter_of(values)}---\n\n{text}\n"


def sections(text: str) -> Iterator[Section]:
    """Yield the sections of a page, in order; headings of levels 1 to 3, and lines that are underlined, begin one.

    A heading without text is one if it stands above no other, whose section has its name, too.
    """
    headings: list[Heading] = []
    body: list[str] = []
    begun = 1
    for number, line in enumerate(read_lines(text), 1):
        heading = line.heading
        if heading is None:
            body.append(line.text)
            continue
        above = body[: len(body) - heading.above]
        yield from _pieces(headings, above, begun, above=_stands_above(headings, heading))
        headings = [*(each for each in headings if each.level < heading.level), heading]
        body, begun = [], number - heading.above
    yield from _pieces(headings, body, begun, above=False)


def anchor(heading: str) -> str:
    """Return the fragment of a heading: lower case, words joined by hyphens."""
    return _NO_ANCHOR.sub("", heading.lower()).strip().replace(" ", "-")


def _stands_above(headings: list[Heading], heading: Heading) -> bool:
    return bool(headings and heading.name) and heading.level > headings[-1].level


def _pieces(headings: list[Heading], body: list[str], line: int, *, above: bool) -> Iterator[Section]:
    names = tuple(each.name for each in headings)
    text = "".join(body).strip()
    if not text and not above and any(names[-1:]):
        yield Section(headings=names, text="", line=line)
    for piece in pieces(text, SECTION_BYTES):
        yield Section(headings=names, text=piece, line=line)


def pieces(text: str, limit: int) -> Iterator[str]:
    """Yield a text in pieces of at most so many bytes, cut between paragraphs where they are no longer than that.

    Longer ones are cut at the end of a line, or else of a word, if there is one in the second half of a piece.
    """
    piece: list[str] = []
    size = 0
    for paragraph in _paragraphs(text, limit):
        length = len(paragraph.encode())
        if piece and size + len(_SEAM) + length > limit:
            yield _SEAM.join(piece)
            piece, size = [], 0
        size += length + (len(_SEAM) if piece else 0)
        piece.append(paragraph)
    if piece:
        yield _SEAM.join(piece)


def _paragraphs(text: str, limit: int) -> Iterator[str]:
    for paragraph in re.split(r"\n[ \t]*\n", text):
        raw = paragraph.encode()
        start = 0
        while len(raw) - start > limit:
            ends = (raw.rfind(mark, start + limit // 2, start + limit + 1) for mark in (b"\n", b" ", b"\t"))
            end = next((end for end in ends if end > 0), None)
            part = raw[start : start + limit if end is None else end].decode(errors="ignore")
            yield part
            start += len(part.encode()) + (end is not None)
        if start < len(raw):
            yield raw[start:].decode()
