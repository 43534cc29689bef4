"""Answers as a short text for a person or a model to read, beside the same as JSON.

Many clients give a model this text alone, others the JSON alone: each has all that a model needs to go on. What
somebody stored is indented, or stands at the end, so that it cannot pass for what the server says.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tmws_core.domain.narrowing import CLOSEST, closest_of

_INDENT = "   "

_BREAKS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
"""What ends a line, and stands as it is in JSON."""

_CUT = "\u2026 stands for what is cut: get_memory has the whole, and reads from a character on with offset."


def readable(answer: Mapping[str, Any], none: str | None = None) -> str:
    """Return the text of an answer; `none` is what is said where a list or a search has found nothing."""
    return "\n".join(_lines(answer, none or "No memories."))


def readable_error(error: Mapping[str, Any]) -> str:
    """Return the text of an error, whose body is given: its message and its code, and what names the request."""
    told = error["error"]
    request = f", request {told['request_id']}" if "request_id" in told else ""
    return f"{told['message']} ({told['code']}{request})"


def _lines(answer: Mapping[str, Any], none: str) -> Iterator[str]:
    match answer:
        case {"results": [*hits], "search_source": _}:
            weak = bool(hits) and bool(answer.get("nothing_relevant"))
            yield closest_of(len(hits)) if weak else _count(hits, "best first", none)
            yield from (f"Missing: {reason}" for reason in answer.get("degraded", ()))
            yield from _memories(hits[:CLOSEST] if weak else hits)
        case {"memories": [*memories]}:
            yield _count(memories, "in order", none)
            yield from _memories(memories)
        case {"memory": {}}:
            yield from _memory(answer, answer["memory"])
            return
        case _:
            yield from _fields(answer)
    if "next_cursor" in answer:
        yield f"More follow: cursor {answer['next_cursor']}"


def _count(memories: list[Any], order: str, none: str) -> str:
    if len(memories) == 1:
        return "1 memory:"
    return f"{len(memories)} memories, {order}:" if memories else none


def _memories(memories: list[dict[str, Any]]) -> Iterator[str]:
    for number, memory in enumerate(memories, start=1):
        yield f"{number}. {'  '.join(_head(memory))}"
        yield _indented(memory["content"])
    if any("truncated" in memory for memory in memories):
        yield _CUT


def _head(memory: Mapping[str, Any]) -> Iterator[str]:
    yield memory["memory_id"]
    yield memory.get("occurred_at", memory["created_at"])[:10]
    if "relevance" in memory:
        yield memory["relevance"]
    yield from (f"#{_word(tag)}" for tag in memory["tags"])
    if "more_tags" in memory:
        yield f"and {memory['more_tags']} tags more"
    for name in ("namespace", "agent_id", "superseded_by", "expires_at"):
        if name in memory:
            yield f"{name} {memory[name]}"
    if "truncated" in memory:
        yield f"from character {memory['offset']} of {memory['length']}"


def _memory(answer: Mapping[str, Any], memory: Mapping[str, Any]) -> Iterator[str]:
    yield from _fields({name: value for name, value in memory.items() if name != "content"})
    yield from _fields({name: value for name, value in answer.items() if name not in ("memory", "history")})
    for text in answer.get("history", ()):
        yield f"former text {text['version']}, from {text['valid_from']} to {text['valid_to']}:"
        yield _indented(text["content"])
    yield "content:"
    yield memory["content"]


def _fields(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not empty, one a line; of a list of objects each one."""
    for name, value in values.items():
        match value:
            case [{}, *_]:
                yield f"{name}:"
                yield from (f"{_INDENT}{', '.join(_fields(item))}" for item in value)
            case _ if name != "success" and value not in ([], {}):
                yield f"{name}: {_quoted(value)}"


def _quoted(value: object) -> str:
    """Return a value on one line: a plain string as it is, others as JSON."""
    if isinstance(value, str) and value.isprintable():
        return value
    return _json(value)


def _word(text: str) -> str:
    """Return a text beside others on a line: one without white space as it is, others as JSON."""
    return _json(text) if " " in text else _quoted(text)


def _json(value: object) -> str:
    return orjson.dumps(value).decode().translate(_BREAKS)


def _indented(text: str) -> str:
    return "\n".join(f"{_INDENT}{line}" for line in text.splitlines())
