"""ChatGPT's export: conversations as trees of messages, of which one branch was gone to the end."""

from collections.abc import Iterator, Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Conversation, Entry, Turn, digest_of, first_text, text_of

NAME = "ChatGPT"
_IDENTITIES = ("conversation_id", "id")
_SPEAKERS = frozenset({"user", "assistant"})
_TO_ALL = (None, "all")
_NOT_SAID = frozenset({"thoughts", "reasoning_recap", "user_editable_context", "model_editable_context"})


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is a conversation."""
    return "mapping" in keys


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield one entry a message of the branch that the conversation ended with, in order."""
    nodes = values["mapping"] if isinstance(values["mapping"], dict) else {}
    whole = Conversation(
        program="chatgpt",
        identity=first_text(values, _IDENTITIES)
        or digest_of(values.get("title"), values.get("create_time"), next(iter(nodes), None)),
        title=text_of(values.get("title")),
        begun=values.get("create_time"),
    )
    yield from whole.entries(_turns(_branch(values.get("current_node"), nodes), nodes))


def _branch(last: Any, nodes: Mapping[str, Any]) -> list[str]:
    """Return the names of the nodes from the root to the last one, each once, however the tree is damaged."""
    if not isinstance(last, str) or last not in nodes:
        last = _last_leaf(nodes)
    found: dict[str, None] = {}
    while isinstance(last, str) and last not in found and isinstance(nodes.get(last), dict):
        found[last] = None
        last = nodes[last].get("parent")
    return list(found)[::-1]


def _last_leaf(nodes: Mapping[str, Any]) -> str | None:
    """Return the last node that has no children, or the last one."""
    names = [name for name, node in nodes.items() if isinstance(node, dict)]
    return next((name for name in reversed(names) if not nodes[name].get("children")), names[-1] if names else None)


def _turns(branch: list[str], nodes: Mapping[str, Any]) -> Iterator[Turn]:
    for name in branch:
        message = nodes[name].get("message")
        if not isinstance(message, dict):
            continue
        author, about = message.get("author"), message.get("metadata")
        role = text_of(author.get("role")) if isinstance(author, dict) else ""
        about = about if isinstance(about, dict) else {}
        hidden = about.get("is_visually_hidden_from_conversation") is True
        if role in _SPEAKERS and message.get("recipient") in _TO_ALL and not hidden:
            told = {"model": about.get("model_slug")}
            yield Turn(identity=name, role=role, text=_said(message), moment=message.get("create_time"), told=told)


def _said(message: Mapping[str, Any]) -> str:
    """Return the texts of a message, without its pictures."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, dict) or content.get("content_type") in _NOT_SAID:
        return ""
    parts = content.get("parts")
    listed = parts if isinstance(parts, list) and parts else [content.get("text")]
    texts = (part.get("text") if isinstance(part, dict) else part for part in listed)
    return "\n\n".join(text for text in map(text_of, texts) if text.strip())
