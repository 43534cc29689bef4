"""Markdown: front matter, sections, and one file for one memory."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tmws_cli.transfer.front import FrontMatter, front_matter_in, front_matter_in_toml, front_matter_of

SECTION_BYTES = 8 * 1024
"""The longest text of one section; a longer one becomes several, cut between paragraphs."""

HEADING_CHARACTERS = 1000
"""The longest heading, since each section below it repeats it; a longer one is text (decision)."""

_FRONT = re.compile(
    r"\A(?:---[ \t]*\r?\n(?P<yaml>.*?)^(?:---|\.\.\.)|\+\+\+[ \t]*\r?\n(?P<toml>.*?)^\+\+\+)[ \t]*\r?(?:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_HEADING = re.compile(r" {0,3}(#{1,3})[ \t]+(.*)")
_UNDERLINE = re.compile(r" {0,3}(={3,}|-{3,})[ \t]*")
_UNDERLINED = re.compile(r" {0,3}(?![#>|`~<\s]|[-*+][ \t]|\d{1,9}[.)][ \t])(.*)")
"""A line that may be a heading if the next one underlines it: it begins no list, quotation, table or code."""

_BLANK = " \t"

_SEAM = "\n\n"
"""Between two paragraphs."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
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
    headings: list[tuple[int, str]] = []
    body: list[str] = []
    fence, begun = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        is_underline = not fence and _UNDERLINE.fullmatch(line.rstrip("\r\n")) is not None
        heading = _underlined(body, line) if is_underline else None if fence else _heading(line)
        fence = _fence_after(line, fence)
        if heading is None:
            body.append(line)
            continue
        above = body[:-1] if is_underline else body
        yield from _pieces(headings, above, begun, above=_stands_above(headings, heading))
        headings = [*((depth, name) for depth, name in headings if depth < heading[0]), heading]
        body, begun = [], number - is_underline
    yield from _pieces(headings, body, begun, above=False)


def anchor(heading: str) -> str:
    """Return the fragment of a heading: lower case, words joined by hyphens."""
    return _NO_ANCHOR.sub("", heading.lower()).strip().replace(" ", "-")


def _heading(line: str) -> tuple[int, str] | None:
    """Return the level and the name of a heading, without the hashes that may close it."""
    found = _HEADING.fullmatch(line.rstrip("\r\n"))
    if not found:
        return None
    name = found.group(2).rstrip(_BLANK).rstrip("#").rstrip(_BLANK)
    return (len(found.group(1)), name) if len(name) <= HEADING_CHARACTERS else None


def _underlined(body: list[str], line: str) -> tuple[int, str] | None:
    """Return the level and the name of a heading that is the last line of a text, alone, and underlined by the next."""
    alone = bool(body) and not "".join(body[-2:-1]).strip()
    found = _UNDERLINED.fullmatch(body[-1].rstrip()) if alone else None
    if found is None or len(found.group(1)) > HEADING_CHARACTERS:
        return None
    return (1 if "=" in line else 2), found.group(1)


def _fence_after(line: str, fence: str) -> str:
    """Return the fence of the code block that is open behind the line, or the empty string."""
    found = _FENCE.match(line)
    if not found:
        return fence
    if not fence:
        return found.group(1)
    closes = found.group(1).startswith(fence) and not line[found.end() :].strip()
    return "" if closes else fence


def _stands_above(headings: list[tuple[int, str]], heading: tuple[int, str]) -> bool:
    depth, name = heading
    return bool(headings and name) and depth > headings[-1][0]


def _pieces(headings: list[tuple[int, str]], body: list[str], line: int, *, above: bool) -> Iterator[Section]:
    names = tuple(name for _, name in headings)
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
