"""A Markdown file, or a folder of them, as memories: one a section, or one a file where we exported it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tmws_cli.transfer.markdown import Section, sections, split_front_matter
from tmws_cli.transfer.records import FIELDS, Record, Refusal, record_of
from tmws_core.domain.memory import MemoryType
from tmws_core.errors import InvalidField

OWN_FORMAT = "tmws"
"""The name in the front matter of a file that we exported; its value is the version of the format, 1."""

_LABEL_CHARACTERS = 256
"""What a session id or a source may have."""

_OURS_TO_SET = frozenset({"content", "source", "session_id", "sequence", "idempotency_key"})
"""Fields that follow from the place of a section, whatever the front matter says."""


@attrs.define
class MarkdownPages:
    """The memories of the Markdown files at or below a path, in the order of their names.

    `position` counts the bytes that were read, `total` those there are.
    """

    _root: Path
    _paths: list[Path]
    total: int
    _ignore_unknown: bool
    position: int = attrs.field(default=0, init=False)

    @property
    def pages(self) -> int:
        """Count the files."""
        return len(self._paths)

    @classmethod
    def at(cls, path: Path, *, ignore_unknown: bool) -> "MarkdownPages":
        """Find the files, hidden ones and those in hidden folders left out."""
        if path.is_dir():
            root, paths = path, sorted(found for found in path.rglob("*.md") if _is_page(found.relative_to(path)))
        else:
            root, paths = path.parent, [path]
        return cls(root, paths, sum(found.stat().st_size for found in paths), ignore_unknown)

    def __iter__(self) -> Iterator[Record | Refusal]:
        for path in self._paths:
            place = path.relative_to(self._root).as_posix()
            raw = path.read_bytes()
            self.position += len(raw)
            try:
                front, text = split_front_matter(raw.decode("utf-8-sig"))
            except UnicodeDecodeError:
                yield Refusal(place=place, reason="is no UTF-8")
            except InvalidField as error:
                yield Refusal(place=place, reason=error.message)
            else:
                yield from self._memories(place, front, text)

    def _memories(self, place: str, front: dict[str, Any], text: str) -> Iterator[Record | Refusal]:
        if front.pop(OWN_FORMAT, None) is not None:
            fields = front | {"content": text.removeprefix("\n").removesuffix("\n")}
            yield self._record(place, fields)
            return
        shared = _shared_fields(front)
        title = front.get("title")
        page = _title(place, title if isinstance(title, str) else None, text)
        for number, section in enumerate(sections(text)):
            yield self._record(place, shared | _own_fields(place, number, page, section))

    def _record(self, place: str, fields: dict[str, Any]) -> Record | Refusal:
        try:
            return record_of(place, fields, ignore_unknown=self._ignore_unknown)
        except InvalidField as error:
            return Refusal(place=place, reason=error.message)


def _is_page(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def _shared_fields(front: dict[str, Any]) -> dict[str, Any]:
    """Return what the front matter says about every section: known fields, and the rest as metadata."""
    known = {name: value for name, value in front.items() if name in FIELDS - _OURS_TO_SET and value is not None}
    metadata = {name: value for name, value in front.items() if name not in FIELDS}
    if isinstance(known.get("tags"), str):
        known["tags"] = [tag.strip() for tag in known["tags"].split(",") if tag.strip()]
    if metadata:
        known["metadata"] = metadata | (known["metadata"] if isinstance(known.get("metadata"), dict) else {})
    return {"memory_type": MemoryType.SEMANTIC.value} | known


def _own_fields(place: str, number: int, page: str, section: Section) -> dict[str, Any]:
    path = [page, *section.headings[1:]] if section.headings[:1] == (page,) else [page, *section.headings]
    content = f"{' > '.join(path)}\n\n{section.text}"
    identity = hashlib.sha256("\0".join((place, *section.headings, content)).encode()).hexdigest()
    return {
        "content": content,
        "source": f"{place}#{section.anchor}"[-_LABEL_CHARACTERS:],
        "session_id": place[-_LABEL_CHARACTERS:],
        "sequence": number,
        "idempotency_key": f"import:{identity}",
    }


def _title(place: str, given: str | None, text: str) -> str:
    """Return the name of a page: its own word for it, its first heading, or the name of the file."""
    first = next((section.headings[0] for section in sections(text) if section.headings), None)
    return given or first or Path(place).stem
