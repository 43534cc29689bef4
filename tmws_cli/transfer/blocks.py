"""The lines of Markdown, and which of them are headings, as CommonMark has it: none within code and comments."""

import io
import re
from collections.abc import Iterator

import attrs

HEADING_CHARACTERS = 1000
"""The longest heading, since each section below it repeats it; a longer one is text (decision)."""

_PLAIN = re.compile(r" {0,3}[^\W\d_]")
"""What begins with a letter is no mark."""

_HASHED = re.compile(r" {0,3}(#{1,3})[ \t]+(.*)")
_CLOSING_HASHES = re.compile(r"(?:^|(?<=[ \t]))#+$")

_UNDERLINE = re.compile(r" {0,3}(={3,}|-{3,})[ \t]*")
_RULE = re.compile(r" {0,3}([-*_=])(?:[ \t]*+\1){2,}+[ \t]*+")
"""A rule, or what underlines nothing."""

_NO_NAME = re.compile(r" {0,3}+(?:[#>|<\s]|[-*+](?:[ \t]|$)|\d{1,9}[.)](?:[ \t]|$)|\[[^\]]*\]:)")
"""What begins a list, a quotation, a table, HTML, code or an address of links, or may be a line of tags."""

_MARK = r"(?:[-*+]|\d{1,9}[.)])"
_ITEM = re.compile(rf" {{0,3}}{_MARK}(?: {{1,4}}(?! )| |$)")
"""What begins an item of a list, up to its text."""

_FENCE = re.compile(rf"( {{0,3}}(?:{_MARK} {{1,4}})*)(`{{3,}}(?=[^`]*$)|~{{3,}})")
"""The line that opens a block of code, within items of lists, too."""

_HTML = re.IGNORECASE
_LITERAL = (
    (re.compile(r" {0,3}<!--"), re.compile(r"-->")),
    (
        re.compile(r" {0,3}<(?:pre|script|style|textarea)(?:[\s>]|$)", _HTML),
        re.compile(r"</(?:pre|script|style|textarea)>", _HTML),
    ),
)
"""What opens and what closes HTML that holds any lines, blank ones, too."""

_BLANK = " \t"
_ENDS = "\r\n"
_TAB = 4


@attrs.frozen
class Heading:
    """A heading: its level from 1, its name, and how many lines above its last one the name has."""

    level: int
    name: str
    above: int = 0


@attrs.frozen
class Line:
    """A line with its end; the heading that it completes, and whether it is code between fences, or a fence."""

    text: str
    heading: Heading | None = None
    is_code: bool = False


def read_lines(text: str) -> Iterator[Line]:
    r"""Yield the lines of a page; headings of levels 1 to 3, and texts that are underlined, are headings.

    A line ends with `\n`, `\r\n` or `\r`, and nothing else.

    What opens a comment, or other HTML that holds any lines, and is never closed is text, so that the headings below it
    are found.
    """
    return map(_Reader(text).read, io.StringIO(text, newline=""))


@attrs.frozen
class _Fence:
    mark: str
    indent: int
    """Where the text of the item of a list begins that the fence opened in, or 0."""

    def ends_before(self, line: str) -> bool:
        """Tell whether a line is not within the item of a list any more."""
        return bool(line.strip()) and _indent(line) < self.indent

    def is_closed_by(self, line: str) -> bool:
        bare = line.strip()
        return bare.startswith(self.mark) and not bare.strip(self.mark[0]) and _indent(line) < self.indent + _TAB


@attrs.define
class _Reader:
    """Where the lines so far lead to.

    `_item` is where the text of the item of a list begins, or 0. `_paragraph` has the lines so far of the text that the
    next line may underline, and is None if that must not.
    """

    _page: str
    _position: int = attrs.field(default=0, init=False)
    _literal_to: int = attrs.field(default=-1, init=False)
    _unclosed: set[int] = attrs.field(factory=set, init=False)
    _fence: _Fence | None = attrs.field(default=None, init=False)
    _item: int = attrs.field(default=0, init=False)
    _paragraph: list[str] | None = attrs.field(factory=list, init=False)

    def read(self, line: str) -> Line:
        begins, self._position = self._position, self._position + len(line)
        if self._is_plain and begins > self._literal_to and _PLAIN.match(line):
            if self._paragraph is not None:
                self._paragraph.append(line)
            return Line(line)
        is_code = begins > self._literal_to and self._is_code(line)
        if is_code or self._is_literal(line, begins):
            self._paragraph = []
            return Line(line, is_code=is_code)
        bare = line.rstrip(_ENDS)
        if self._is_in_item(bare):
            self._paragraph = None
            return Line(line)
        heading = _hashed(bare) or self._underlined(bare)
        self._go_on(bare, heading)
        return Line(line, heading)

    @property
    def _is_plain(self) -> bool:
        return self._fence is None and not self._item

    def _is_code(self, line: str) -> bool:
        if self._fence is not None and not self._fence.ends_before(line):
            if self._fence.is_closed_by(line):
                self._fence = None
            return True
        self._fence = _fence_in(line)
        return self._fence is not None

    def _is_literal(self, line: str, begins: int) -> bool:
        if begins <= self._literal_to:
            return True
        for number, (opening, closing) in enumerate(_LITERAL if "<" in line else ()):
            if number not in self._unclosed and opening.match(line):
                found = closing.search(self._page, begins)
                if found is not None:
                    self._literal_to = found.start()
                    return True
                self._unclosed.add(number)
        return False

    def _is_in_item(self, line: str) -> bool:
        """Tell whether a line belongs to the item of a list by its indent; another one may begin an item."""
        if not line.strip():
            return False
        if self._item and _indent(line) >= self._item:
            return True
        found = _ITEM.match(line.expandtabs(_TAB))
        self._item = 0 if found is None or _RULE.fullmatch(line) else max(found.end(), len(found[0].rstrip(" ")) + 1)
        return False

    def _underlined(self, line: str) -> Heading | None:
        """Return the heading that a line makes of the text above it; a rule below several lines makes none."""
        found = _UNDERLINE.fullmatch(line) if self._paragraph else None
        if found is None or not self._paragraph:
            return None
        level = 1 if "=" in line else 2
        name = " ".join(map(str.strip, self._paragraph))
        is_one = (level == 1 or len(self._paragraph) == 1) and len(name) <= HEADING_CHARACTERS
        return Heading(level, name, len(self._paragraph)) if is_one else None

    def _go_on(self, line: str, heading: Heading | None) -> None:
        if heading is not None or not line.strip():
            self._paragraph = []
        elif self._paragraph is None or _NO_NAME.match(line) or _RULE.fullmatch(line):
            self._paragraph = None
        else:
            self._paragraph.append(line)


def _hashed(line: str) -> Heading | None:
    """Return a heading without the hashes that may close it."""
    found = _HASHED.fullmatch(line)
    if found is None:
        return None
    name = _CLOSING_HASHES.sub("", found[2].rstrip(_BLANK)).rstrip(_BLANK)
    return Heading(len(found[1]), name) if len(name) <= HEADING_CHARACTERS else None


def _fence_in(line: str) -> _Fence | None:
    found = _FENCE.match(line.expandtabs(_TAB).rstrip(_ENDS)) if "```" in line or "~~~" in line else None
    return None if found is None else _Fence(found[2], len(found[1]) if found[1].strip() else 0)


def _indent(line: str) -> int:
    wide = line.expandtabs(_TAB)
    return len(wide) - len(wide.lstrip(" "))
