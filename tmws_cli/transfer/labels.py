"""What the front matter of any program says about a note, as fields of a memory and as metadata."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tmws_cli.transfer.front import FrontMatter
from tmws_cli.transfer.records import FIELDS
from tmws_core.domain.memory import TAG, TAGS, MemoryType
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import CreateMemory
from tmws_core.wire import rfc3339, structure

_OURS_TO_SET = frozenset({"content", "source", "session_id", "sequence", "idempotency_key"})
"""Fields that follow from the place of a section: what a note says by these names is metadata."""


def shared_fields(front: FrontMatter) -> dict[str, Any]:
    """Return what the front matter says about every section of a page.

    A name of a field means the field if its value can be one, in the way that people write it: `2024-07-01` is a time,
    `tags: 2024` a tag. Everything else is metadata, under its own name: nothing is lost, and nothing is refused.
    """
    known: dict[str, Any] = {"memory_type": MemoryType.SEMANTIC.value}
    metadata: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, value in front.values.items():
        if name == "metadata" and isinstance(value, dict):
            given = value
        elif name == "tags":
            tags, rest = _tags(value, front.written.get(name))
            known |= {name: tags} if tags else {}
            metadata |= {name: rest} if rest else {}
        elif name not in FIELDS:
            metadata[name] = value
        elif value is not None:
            meant = _meaning(name, value, front.written.get(name))
            (metadata if meant is None else known)[name] = value if meant is None else meant
    metadata |= given
    return known | ({"metadata": metadata} if metadata else {})


def _tags(value: Any, written: tuple[str, ...] | None) -> tuple[list[str], Any]:
    """Return the tags, each once, and what cannot be one."""
    if written is None:
        return [], value
    words = written if isinstance(value, list) else tuple(word for text in written for word in text.split(","))
    tags: list[str] = []
    rest: list[str] = []
    for word in dict.fromkeys(stripped for word in words if (stripped := word.strip())):
        (tags if len(tags) < TAGS and _is_tag(word) else rest).append(word)
    return tags, rest


def _is_tag(word: str) -> bool:
    with suppress(InvalidField):
        TAG.check("tags", word)
        return True
    return False


def _meaning(name: str, value: Any, written: tuple[str, ...] | None) -> Any | None:
    """Return the value of a field that is meant, or None."""
    if name in _OURS_TO_SET:
        return None
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
            for read in _READERS:
                with suppress(ValueError, OverflowError):
                    yield read(text)


def _moment(text: str) -> str:
    found = datetime.fromisoformat(text)
    return rfc3339(found if found.tzinfo else found.replace(tzinfo=UTC))


_READERS: tuple[Callable[[str], Any], ...] = (_moment, float)
