"""What any program says about a note or a memory, as fields of a memory and as metadata."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs

from tmws_cli.transfer.front import FrontMatter
from tmws_cli.transfer.moments import moment_of
from tmws_cli.transfer.records import FIELDS
from tmws_core.domain.memory import TAG, TAGS, MemoryType
from tmws_core.domain.words import words_in
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import CreateMemory
from tmws_core.wire import structure

_NOT_MEANT = frozenset(
    {"content", "source", "session_id", "sequence", "idempotency_key", "agent_id", "access_level", "shared_with"}
)
"""Fields that follow from where a section stands and who imports it: what a note says by these names is metadata."""

_TAGS = ("tags", "tag")
_APART = re.compile(r",|(?<!\s)\s++(?=#)")
"""Between tags in one text."""

_DATES = ("date", "created", "created_at", "createdAt", "timestamp", "create_time")
"""What programs call the day that a note is about; it stays in the metadata, too, as it is written."""


def shared_fields(front: FrontMatter) -> dict[str, Any]:
    """Return what the front matter says about every section of a page."""
    told = told_fields(front.values, written=front.written, not_meant=_NOT_MEANT)
    return {"memory_type": MemoryType.SEMANTIC.value} | told


def told_fields(
    values: Mapping[str, Any], *, written: Mapping[str, tuple[str, ...]], not_meant: frozenset[str]
) -> dict[str, Any]:
    """Return the fields that values mean; `written` as in FrontMatter.

    A name of a field means the field if its value can be one, in the way that people write it: `2024-07-01` is a time,
    `tags: 2024` a tag. Everything else is metadata, under its own name: nothing is lost, and nothing is refused. So are
    the names that are `not_meant`. Where no `occurred_at` is told, another date is one.
    """
    told = _Told(not_meant)
    for name, value in values.items():
        told.take(name, value, written.get(name))
    if values.get("occurred_at") in (None, ""):
        told.take_date((values[name], written.get(name)) for name in _DATES if name in values)
    return told.fields()


def distinct_tags(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return words as the tags of a memory, each once, without the `#` of some programs; and those that cannot be."""
    tags: list[str] = []
    rest: list[str] = []
    for word in dict.fromkeys(stripped for word in words if (stripped := word.strip().removeprefix("#").strip())):
        (tags if len(tags) < TAGS and _is_tag(word) else rest).append(word)
    return tags, rest


@attrs.define
class _Told:
    """What was understood so far."""

    _not_meant: frozenset[str]
    _known: dict[str, Any] = attrs.field(factory=dict, init=False)
    _metadata: dict[str, Any] = attrs.field(factory=dict, init=False)
    _given: dict[str, Any] = attrs.field(factory=dict, init=False)
    _words: list[str] = attrs.field(factory=list, init=False)

    def take(self, name: str, value: Any, written: tuple[str, ...] | None) -> None:
        if name == "metadata" and isinstance(value, dict):
            self._given = value
        elif name in _TAGS and written is not None:
            words = written if isinstance(value, list) else _listed(written)
            self._words += words or ()
            self._metadata |= {name: value} if words is None else {}
        elif name not in FIELDS or name in self._not_meant or name in _TAGS:
            self._metadata |= {} if value is None and name in FIELDS else {name: value}
        elif value is not None:
            meant = _meaning(name, value, written)
            (self._metadata if meant is None else self._known)[name] = value if meant is None else meant

    def take_date(self, dates: Iterable[tuple[Any, tuple[str, ...] | None]]) -> None:
        meanings = (_meaning("occurred_at", value, written) for value, written in dates if value is not None)
        found = next((meaning for meaning in meanings if meaning is not None), None)
        self._known |= {} if found is None else {"occurred_at": found}

    def fields(self) -> dict[str, Any]:
        tags, rest = distinct_tags(self._words)
        metadata = self._metadata | ({"tags": rest} if rest else {}) | self._given
        return self._known | ({"tags": tags} if tags else {}) | ({"metadata": metadata} if metadata else {})


def _listed(texts: Iterable[str]) -> list[str] | None:
    """Return the words in texts that stand for lists, or None if one begins as a list does, and is none."""
    found = [words_in(text) for text in texts]
    if None in found:
        return None
    return [part for words in found for word in words or () for part in _APART.split(word)]


def _is_tag(word: str) -> bool:
    with suppress(InvalidField):
        TAG.check("tags", word)
        return True
    return False


def _meaning(name: str, value: Any, written: tuple[str, ...] | None) -> Any | None:
    """Return the value of a field that is meant, or None."""
    for reading in _readings(value, written):
        with suppress(InvalidField):
            structure({"content": "-", name: reading}, CreateMemory)
            return reading
    return None


def _readings(value: Any, written: tuple[str, ...] | None) -> Iterator[Any]:
    """Yield what may be meant, what is written first."""
    yield value
    if written is not None:
        yield list(written)
        if len(written) == 1:
            text = written[0].strip()
            yield text
            yield text.lower()
            if (moment := moment_of(text)) is not None:
                yield moment
            with suppress(ValueError, OverflowError):
                yield float(text)
