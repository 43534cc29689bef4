"""What Codex writes down of a session, in `~/.codex/sessions/…/rollout-….jsonl`: events, one JSON object a line.

What was said is there twice: as it was said, in events, and as it went to the model, with much around it. Files that
hold the latter alone, which versions before September 2025 wrote, are not read. Events were messages before August
2026, and are items that are complete since then; no file has both.
"""

from collections.abc import Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Turn, Turns, objects_in, text_of

NAME = "Codex"
_NAMES = frozenset({"timestamp", "type", "payload"})
_NUMBER = "ordinal"
_EVENT, _BEGINNING, _COMPLETE = "event_msg", "session_meta", "item_completed"
_SPEAKERS = {
    "user_message": "user",
    "agent_message": "assistant",
    "UserMessage": "user",
    "AgentMessage": "assistant",
}
_WITHIN = ("source", "thread_source")
_ASIDE = frozenset({"sub_agent", "subagent", "guardian_review", "memory_consolidation"})
"""What a session within another one, or one of Codex itself, has as its source, if that is no object."""

_PLAIN = (None, "plain")
"""Kinds of a message that the user has written; others hold instructions."""

_CONTEXT, _REQUEST = "# Context from my IDE setup:", "## My request for Codex:"
"""What an editor puts before a message, and what stands between."""


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is a line of such a file."""
    return _NAMES <= keys <= {*_NAMES, _NUMBER}


def turns() -> Turns:
    """Return what reads the lines of a file, in order."""
    return Turns("codex", _turn)


def _turn(session: Turns, values: Mapping[str, Any]) -> Turn | None:
    given, kind = values.get("payload"), values.get("type")
    payload = given if isinstance(given, dict) else {}
    if kind == _BEGINNING and not session.identity:
        session.identity = text_of(payload.get("id")).strip()
        session.told = {"cwd": payload.get("cwd")}
        sources = [payload.get(name) for name in _WITHIN]
        session.is_aside = any(isinstance(source, dict) or text_of(source) in _ASIDE for source in sources)
    item = payload.get("item") if payload.get("type") == _COMPLETE else payload
    said = item if kind == _EVENT and isinstance(item, dict) and not session.is_aside else {}
    role = _SPEAKERS.get(text_of(said.get("type")))
    if role is None or said.get("kind") not in _PLAIN:
        return None
    texts = [said.get("message"), *(part.get("text") for part in objects_in(said.get("content")))]
    text = "\n\n".join(filter(None, map(text_of, texts)))
    if role == "user" and text.startswith(_CONTEXT):
        text = text.partition(_REQUEST)[2] or text
    return Turn(identity="", role=role, text=text.strip(), moment=values.get("timestamp"), told=session.told)
