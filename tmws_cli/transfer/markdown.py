"""Markdown: front matter, sections, and one file for one memory."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import attrs
import yaml

from tmws_core.errors import InvalidField
from tmws_core.wire import rfc3339

SECTION_BYTES = 8 * 1024
"""The longest text of one section; a longer one becomes several, cut between paragraphs."""

_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r" {0,3}(#{1,3})[ \t]+(.*?)[ \t]*#*[ \t]*")
_YAML_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks to YAML: unless PyYAML escapes all of Unicode, it writes them as they are and reads them as spaces."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NO_ANCHOR = re.compile(r"[^\w\- ]")


@attrs.frozen(kw_only=True)
class Section:
    """A piece of a page: the headings above it, outermost first, and its own text."""

    headings: tuple[str, ...]
    text: str

    @property
    def anchor(self) -> str:
        """Return the fragment that leads to the section where pages are shown."""
        return anchor(self.headings[-1]) if self.headings else ""


class _Loader(yaml.SafeLoader):
    """Refuses aliases, by which a few lines can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(problem="aliases are not supported")
        return super().compose_node(parent, index)


def split_front_matter(page: str) -> tuple[dict[str, Any], str]:
    """Return the front matter of a page as JSON values, and the text below it.

    Raises:
        InvalidField: the front matter is no YAML mapping.
    """
    found = _FRONT.match(page)
    if not found:
        return {}, page
    try:
        values = yaml.load(found.group(1), Loader=_Loader)  # noqa: S506 - a SafeLoader that can do even less
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InvalidField(name="front matter", reason=f"is no YAML: {reason}") from None
    if not isinstance(values, dict | None):
        raise InvalidField(name="front matter", reason="is no mapping", hint="Write `name: value` lines")
    return {str(name): _json_value(value) for name, value in (values or {}).items()}, page[found.end() :]


def with_front_matter(values: Mapping[str, Any], text: str) -> str:
    """Return a page that `split_front_matter` takes apart again; a line break at the end of the text is added."""
    front = _front_matter(values, readable=True)
    if _YAML_BREAKS.search(front):
        front = _front_matter(values, readable=False)
    return f"---\n{front}---\n\n{text}\n"


def sections(text: str) -> Iterator[Section]:
    """Yield the sections of a page that have a text, in order; headings of levels 1 to 3 begin one."""
    headings: list[tuple[int, str]] = []
    body: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        heading = None if fence else _HEADING.fullmatch(line.rstrip("\r\n"))
        fence = _fence_after(line, fence)
        if heading is None:
            body.append(line)
            continue
        yield from _pieces(headings, body)
        level = len(heading.group(1))
        headings = [*((depth, name) for depth, name in headings if depth < level), (level, heading.group(2))]
        body = []
    yield from _pieces(headings, body)


def anchor(heading: str) -> str:
    """Return the fragment of a heading: lower case, words joined by hyphens."""
    return _NO_ANCHOR.sub("", heading.lower()).strip().replace(" ", "-")


def _front_matter(values: Mapping[str, Any], *, readable: bool) -> str:
    return yaml.safe_dump(dict(values), allow_unicode=readable, sort_keys=False, width=1_000_000)


def _fence_after(line: str, fence: str) -> str:
    """Return the fence of the code block that is open behind the line, or the empty string."""
    found = _FENCE.match(line)
    if not found:
        return fence
    if not fence:
        return found.group(1)
    closes = found.group(1).startswith(fence) and not line[found.end() :].strip()
    return "" if closes else fence


def _pieces(headings: list[tuple[int, str]], body: list[str]) -> Iterator[Section]:
    names = tuple(name for _, name in headings)
    piece = ""
    for paragraph in _paragraphs("".join(body).strip()):
        if piece and len(f"{piece}\n\n{paragraph}".encode()) > SECTION_BYTES:
            yield Section(headings=names, text=piece)
            piece = ""
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
    if piece:
        yield Section(headings=names, text=piece)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs of at most SECTION_BYTES."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        rest = paragraph.encode()
        while rest:
            part = rest[:SECTION_BYTES].decode(errors="ignore")
            yield part
            rest = rest[len(part.encode()) :]


def _json_value(value: Any) -> Any:
    match value:
        case datetime():
            return rfc3339(value if value.tzinfo else value.replace(tzinfo=UTC))
        case date():
            return value.isoformat()
        case dict():
            return {str(name): _json_value(item) for name, item in value.items()}
        case list() | set() | tuple():
            return [_json_value(item) for item in value]
        case bytes():
            return value.hex()
        case _:
            return value
