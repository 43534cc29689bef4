"""mem0: a list, lines, a page of its API, or the points of its vector store."""

from collections.abc import Iterator, Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Entry, first_text, identity_of, label, name_of_text, text_of

NAME = "mem0"

_TAGS = "categories"
_SESSION = "run_id"
_EXPIRY = "expiration_date"
_BESIDE = frozenset({"hash", "user_id", "agent_id", "app_id", "run_id", "event", "categories"})
"""One of these stands beside a memory, in whatever answer; `memory` alone may be that of a machine."""

_TARGETS = ("destination", "target")
_PAYLOADS = ("payload", "source_payload")
_TEXTS = ("memory", "data", "content", "text", "page_content", "document")
"""Where the text is, in the order in which it is looked for; a vector store's points have it from the third on."""


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is one of mem0's memories, or a relation of its graph."""
    marks = ({"data", "hash"}, {"id", "payload"}, {"source", "relationship"})
    is_memory = "memory" in keys and "content" not in keys and bool(keys & _BESIDE)
    return is_memory or any(names <= keys for names in marks)


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the one memory, which may stand in a payload beside its vector."""
    if "relationship" in values:
        yield _relation(values)
        return
    payloads = (values[name] for name in _PAYLOADS if isinstance(values.get(name), dict))
    payload: dict[str, Any] = next(filter(None, payloads), {})
    beside = {name: value for name, value in values.items() if name not in (*_PAYLOADS, "vector")}
    said = {**payload, **{name: value for name, value in beside.items() if value is not None}}
    name = name_of_text(said, _TEXTS)
    content = None if name is None else said.pop(name)
    tags = said.pop(_TAGS, None)
    said |= {"tags": tags} if isinstance(tags, list) and not said.get("tags") else {_TAGS: tags}
    said["expires_at"] = said.pop(_EXPIRY, None) or said.get("expires_at")
    run = said.get(_SESSION)
    yield Entry(
        program="mem0",
        content=content,
        identity=identity_of(said, ("id",)),
        told=said,
        fields={"session_id": label(run) if isinstance(run, str) and run.strip() else None},
    )


def _relation(values: Mapping[str, Any]) -> Entry:
    kind = text_of(values["relationship"]).replace("_", " ")
    content = f"{text_of(values.get('source'))} {kind} {first_text(values, _TARGETS)}"
    return Entry(program="mem0", content=content, told=values, fields={"tags": ["relation"]})
