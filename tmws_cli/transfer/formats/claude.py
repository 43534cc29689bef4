"""Claude's export: conversations with their messages in order, documents of projects, and what Claude remembers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tmws_cli.transfer.formats.entries import Conversation, Entry, Turn, digest_of, objects_in, text_of
from tmws_cli.transfer.markdown import sections
from tmws_core.domain.memory import MemoryType

NAME = "Claude"
_ROLES = {"human": "user"}
_MEMORY, _MEMORIES = "conversations_memory", "project_memories"
_TITLE = re.compile(r"(?m)^\*\*([^*\n]+)\*\*:?[ \t]*$")
"""What stands above a part of what Claude remembers, as a line of its own."""


def recognises(keys: frozenset[str]) -> bool:
    """Tell by its names whether an object is a conversation, a project, or what Claude remembers."""
    return "chat_messages" in keys or {"uuid", "docs"} <= keys or _MEMORY in keys or _MEMORIES in keys


def entries(values: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield one entry a message, and one for each text that was attached to it; or one a part of what is remembered."""
    if "chat_messages" not in values and "docs" not in values:
        yield from _remembered(values)
        return
    whole = Conversation(
        program="claude",
        identity=text_of(values.get("uuid")) or digest_of(values.get("name"), values.get("created_at")),
        title=text_of(values.get("name")),
        begun=values.get("created_at"),
    )
    yield from whole.entries(_turns(values) if "chat_messages" in values else _documents(values))


def _remembered(values: Mapping[str, Any]) -> Iterator[Entry]:
    projects = values.get(_MEMORIES)
    texts = {None: values.get(_MEMORY), **(projects if isinstance(projects, dict) else {})}
    for project, text in texts.items():
        for section in sections(_TITLE.sub(r"## \1", text_of(text))):
            title = " > ".join(section.headings)
            yield Entry(
                program="claude",
                content=f"{title}\n\n{section.text}" if title else section.text,
                identity=f"memory/{text_of(values.get('account_uuid'))}/{project or ''}/{title}",
                told={"project": project},
                fields={"source": "claude: memory", "memory_type": MemoryType.SEMANTIC.value},
            )


def _turns(values: Mapping[str, Any]) -> Iterator[Turn]:
    for number, message in enumerate(objects_in(values["chat_messages"])):
        sender = text_of(message.get("sender"))
        identity = text_of(message.get("uuid")) or str(number)
        role, moment = _ROLES.get(sender, sender), message.get("created_at")
        yield Turn(identity=identity, role=role, text=_said(message), moment=moment)
        for place, attached in enumerate(objects_in(message.get("attachments"))):
            text, name = text_of(attached.get("extracted_content")), text_of(attached.get("file_name"))
            if text.strip():
                told = {"attachment": name or None}
                yield Turn(
                    identity=f"{identity}/{place}", role=role, text=f"{name}\n\n{text}", moment=moment, told=told
                )


def _documents(values: Mapping[str, Any]) -> Iterator[Turn]:
    described = "\n\n".join(filter(None, (text_of(values.get(name)) for name in ("description", "prompt_template"))))
    yield Turn(identity="project", role="project", text=described)
    for number, document in enumerate(objects_in(values["docs"])):
        identity = text_of(document.get("uuid")) or str(number)
        text = f"{text_of(document.get('filename'))}\n\n{text_of(document.get('content'))}"
        yield Turn(identity=identity, role="document", text=text, moment=document.get("created_at"))


def _said(message: Mapping[str, Any]) -> str:
    """Return what was said; what tools and thoughts contributed stays out."""
    blocks = objects_in(message.get("content"))
    texts = [text_of(block.get("text")) for block in blocks if block.get("type", "text") == "text"]
    return "\n\n".join(text for text in texts if text.strip()) or text_of(message.get("text"))
