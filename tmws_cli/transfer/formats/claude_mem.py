"""The export of claude-mem: observations of sessions, summaries of them, and what the user asked in them.

Each of these is an object in an array of its own; the columns of its database are the names.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import orjson

from tmws_cli.transfer.formats.entries import Entry, first_text, label, text_of
from tmws_cli.transfer.moments import moment_of

NAME = "claude-mem"
_OBSERVATION = frozenset({"title", "facts", "narrative", "concepts"})
_SUMMARY = frozenset({"request", "learned", "completed"})
_PROMPT = frozenset({"content_session_id", "prompt_text", "prompt_number"})
_SESSION = frozenset({"memory_session_id", "user_prompt", "started_at"})

_HEADINGS = ("title", "subtitle")
_STORIES = ("narrative", "text")
"""Where the text of an observation is; the former in later versions."""

_PARTS = {name: f"{name.replace('_', ' ').capitalize()}: " for name in ("investigated", "learned", "completed")} | {
    "next_steps": "Next steps: ",
    "notes": "Notes: ",
}
"""What a summary says below what was requested, with what stands before it."""

_LISTS = ("files_read", "files_modified", "files_edited")
_SESSIONS = ("memory_session_id", "sdk_session_id", "content_session_id")
_TOLD_OTHERWISE = frozenset(
    {*_HEADINGS, *_STORIES, *_PARTS, "facts", "concepts", "type", "request", "prompt_text", "created_at_epoch"}
)
_ASKED_BEFORE = "sessions, which hold no text but their first prompt"
_SEQUENCE_END = 2**31


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is in such an export."""
    return any(names <= keys for names in (_OBSERVATION, _SUMMARY, _PROMPT, _SESSION))


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the one memory; a session by itself is none."""
    if values.keys() >= _OBSERVATION:
        yield _entry(
            values, "observation", _observed(values), [text_of(values.get("type")), *_listed(values, "concepts")]
        )
    elif values.keys() >= _SUMMARY:
        yield _entry(values, "summary", _summed_up(values), ["summary"])
    elif values.keys() >= _PROMPT:
        number = values["prompt_number"]
        is_number = type(number) is int and 0 <= number < _SEQUENCE_END
        yield _entry(values, "prompt", text_of(values["prompt_text"]), [], number if is_number else None)
    else:
        yield Entry(program="claude-mem", content=None, aside=_ASKED_BEFORE)


def _entry(values: Mapping[str, Any], kind: str, content: str, tags: list[str], sequence: int | None = None) -> Entry:
    session, number, project = first_text(values, _SESSIONS), values.get("id"), text_of(values.get("project"))
    lists = {name: _listed(values, name) or None for name in _LISTS}
    told = {name: value for name, value in values.items() if name not in _TOLD_OTHERWISE}
    return Entry(
        program="claude-mem",
        content=content,
        identity=f"{session}/{kind}/{number}" if session and isinstance(number, str | int) else None,
        told={**told, **lists, "tags": tags, "role": "user" if kind == "prompt" else None},
        fields={
            "session_id": label(f"claude-mem/{session}") if session else None,
            "sequence": sequence,
            "occurred_at": moment_of(values.get("created_at")) or moment_of(values.get("created_at_epoch")),
            "source": f"claude-mem: {project}" if project.strip() else None,
        },
    )


def _observed(values: Mapping[str, Any]) -> str:
    headings = (text_of(values.get(name)).strip() for name in _HEADINGS)
    facts = "\n".join(f"- {fact}" for fact in _listed(values, "facts"))
    parts = (*headings, first_text(values, _STORIES).strip(), facts)
    return "\n\n".join(dict.fromkeys(filter(None, parts)))


def _summed_up(values: Mapping[str, Any]) -> str:
    said = ((before, text_of(values.get(name)).strip()) for name, before in (("request", ""), *_PARTS.items()))
    return "\n\n".join(f"{before}{text}" for before, text in said if text)


def _listed(values: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a list, which may stand in a text as JSON; a text that holds none is one of them."""
    value = values.get(name)
    if isinstance(value, str):
        listed: Any = [value]
        with suppress(orjson.JSONDecodeError):
            listed = orjson.loads(value)
        value = listed if isinstance(listed, list) else [value]
    return [text.strip() for text in map(text_of, value if isinstance(value, list) else []) if text.strip()]
