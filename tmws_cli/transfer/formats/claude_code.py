"""What Claude Code writes down of a session, in `~/.claude/projects`: one JSON object a line, most of them no turns.

The form is not documented, and gains kinds of lines from version to version: nothing but what is used is expected.
"""

import re
from collections.abc import Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Turn, Turns, objects_in, text_of

NAME = "Claude Code"
_MARKS = (
    frozenset({"parentUuid", "sessionId"}),
    frozenset({"operation", "sessionId"}),
    frozenset({"summary", "leafUuid"}),
    frozenset({"messageId", "snapshot"}),
)
"""What lines have: those of turns, and others that a file may begin with."""

_SPEAKERS = frozenset({"user", "assistant"})
_ASIDE = ("isSidechain", "isMeta", "isCompactSummary", "isVisibleInTranscriptOnly", "isApiErrorMessage")
"""What marks a line that neither of them has said in the conversation."""

_TYPED = {"type": "queued_command", "commandMode": "prompt"}
"""What is attached if the user has typed it."""

_SYNTHETIC = "<synthetic>"
"""The model of an answer that no model gave."""

_PUT_IN = re.compile(
    r"(?:\s*+<(command-(?:name|message|args|contents)|local-command-(?:stdout|stderr|caveat)|bash-(?:input|stdout|stderr)"
    r"|task-notification|user-prompt-submit-hook|ide_(?:opened_file|selection|diagnostics))>.*?</\1>)++\s*+",
    re.DOTALL,
)
"""Commands and their output, and what an editor tells: they stand where a text of the user would."""

_INTERRUPTED = "[Request interrupted by user"
_REMINDER, _END = "<system-reminder>", "</system-reminder>"


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is a line of such a file."""
    return any(marks <= keys for marks in _MARKS)


def turns() -> Turns:
    """Return what reads the lines of a file, in order."""
    return Turns("claude-code", _turn)


def _turn(session: Turns, values: Mapping[str, Any]) -> Turn | None:
    session.identity = text_of(values.get("sessionId")).strip() or session.identity
    role, message = _message(values)
    if role not in _SPEAKERS or any(values.get(name) is True for name in _ASIDE):
        return None
    text = _said(message.get("content"), by_user=role == "user")
    told = {"cwd": values.get("cwd"), "model": message.get("model")}
    identity = text_of(values.get("uuid"))
    return Turn(identity=identity, role=role, text=text, moment=values.get("timestamp"), told=told)


def _message(values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return whose message a line holds, and what it says; nobody's if it holds none.

    What the user has typed while Claude was at work is no message, but was attached to one.
    """
    message, attached = values.get("message"), values.get("attachment")
    if isinstance(attached, dict) and {name: attached.get(name) for name in _TYPED} == _TYPED:
        origin = attached.get("origin")
        is_user = not isinstance(origin, dict) or origin.get("kind") == "human"
        return ("user" if is_user else ""), {"content": attached.get("prompt")}
    if not isinstance(message, dict) or message.get("model") == _SYNTHETIC:
        return "", {}
    return text_of(values.get("type")), message


def _said(content: Any, *, by_user: bool) -> str:
    """Return the texts of a message: no calls of tools, no results, no thoughts, and nothing that was put in."""
    blocks = objects_in(content)
    texts = [content] if isinstance(content, str) else [block.get("text") for block in blocks if _is_text(block)]
    plain = [text_of(text) for text in texts]
    return "\n\n".join(filter(None, map(_typed, plain) if by_user else map(str.strip, plain)))


def _is_text(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "text"


def _typed(text: str) -> str:
    """Return what a user has typed, without what Claude Code has put before it or between."""
    first, *others = text.split(_REMINDER)
    parted = (other.partition(_END) for other in others)
    kept = first + "".join(behind if end else f"{_REMINDER}{before}" for before, end, behind in parted)
    found = _PUT_IN.match(kept)
    rest = kept[found.end() :] if found else kept
    return "" if rest.startswith(_INTERRUPTED) else rest.strip()
