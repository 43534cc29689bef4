"""What Codex writes down of a session, in `~/.codex/sessions/…/rollout-….jsonl`: events, one JSON object a line.

What was said is there twice: as it was said, in events, and as it went to the model, with much around it. Files that
hold the latter alone, which versions before September 2025 wrote, are not read.
"""

from collections.abc import Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Turn, Turns, text_of

NAME = "Codex"
_NAMES = frozenset({"timestamp", "type", "payload"})
_EVENT, _BEGINNING = "event_msg", "session_meta"
_SPEAKERS = {"user_message": "user", "agent_message": "assistant"}
_PLAIN = (None, "plain")
"""Kinds of a message that the user has written; others hold instructions."""

_CONTEXT, _REQUEST = "# Context from my IDE setup:", "## My request for Codex:"
"""What an editor puts before a message, and what stands between."""


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is a line of such a file."""
    return keys == _NAMES


def turns() -> Turns:
    """Return what reads the lines of a file, in order."""
    return Turns("codex", _turn)


def _turn(session: Turns, values: Mapping[str, Any]) -> Turn | None:
    given, kind = values.get("payload"), values.get("type")
    payload = given if isinstance(given, dict) else {}
    if kind == _BEGINNING and not session.identity:
        session.identity = text_of(payload.get("id")).strip()
        session.told = {"cwd": payload.get("cwd")}
        session.is_aside = isinstance(payload.get("source"), dict)
    role = _SPEAKERS.get(text_of(payload.get("type")))
    if kind != _EVENT or role is None or payload.get("kind") not in _PLAIN or session.is_aside:
        return None
    text = text_of(payload.get("message"))
    if role == "user" and text.startswith(_CONTEXT):
        text = text.partition(_REQUEST)[2] or text
    return Turn(identity="", role=role, text=text.strip(), moment=values.get("timestamp"), told=session.told)
