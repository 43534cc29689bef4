"""What a request to store a memory says beside its text, and whether a stored memory can say that, too: pure."""

import hashlib
import json
from datetime import datetime
from typing import Any

import attrs

from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import METADATA_BYTES, SHARES, TAGS, AccessLevel, Memory, Share
from tmws_core.messages.memory import CreateMemory
from tmws_core.messages.sayings import Sayings
from tmws_core.wire import unstructure

_IDENTIFYING = ("namespace", "access_level", "session_id", "sequence", "occurred_at", "content")
"""Fields that a memory shares with its repetitions."""

_DISCLOSING = {"tags", "metadata", "source", "expires_at"}
"""Fields that are not merged where the request has other readers: these would be shown what was not meant for them."""


@attrs.frozen
class Merged:
    """A memory that says what a request says, too; `fields` are those that were put together."""

    memory: Memory
    fields: tuple[str, ...] = ()


class _Contradiction(Exception):
    """Two values of a field cannot be said together."""


def merged(
    held: Memory,
    request: CreateMemory,
    draft: Memory,
    writer: Caller,
    *,
    sayings: Sayings,
    rewritten: bool,
) -> Merged | None:
    """Return the memory with what the request adds to it, or None if one of both would lose something by that.

    What the request does not say is no difference. Tags, metadata and lists of readers are put together, the later
    expiry counts, and a source is added where there is none; other differences contradict each other. New readers are
    added only to a memory that shows them no more than the `draft`, which is what the request would store: neither
    other labels nor, if it was `rewritten`, former texts.
    """
    try:
        values = {
            "tags": _tags(held, request),
            "metadata": _metadata(held, request, sayings),
            "shared_with": _readers(held, request),
            "source": _agreed(held.source, request.source),
            "memory_type": _agreed(held.memory_type, request.memory_type),
            "importance": _agreed(held.importance, request.importance),
            "expires_at": _later(held.expires_at, request.expires_at),
        }
    except _Contradiction:
        return None
    changes = {name: value for name, value in values.items() if _differs(value, getattr(held, name))}
    fields = {*changes} | ({"expires_at"} if _expires_earlier(held, request) else set())
    if fields & _DISCLOSING and _are_other_readers(held, request):
        return None
    if "shared_with" in changes and (rewritten or _shows_more(held, draft)):
        return None
    memory = held
    if changes:
        memory = attrs.evolve(
            held,
            **changes,
            written_by=writer.agent_id,
            transport=writer.transport,
            version=held.version + 1,
        )
    return Merged(memory, tuple(name for name in values if name in fields))


def difference(held: Memory, draft: Memory) -> str | None:
    """Name the first field that keeps a memory from being the one that is to be stored, or return None."""
    return next((name for name in _IDENTIFYING if getattr(held, name) != getattr(draft, name)), None)


def contradiction(held: Memory, request: CreateMemory) -> str:
    """Name a field in which a request contradicts a memory that it cannot be merged with."""
    for name in ("importance", "memory_type", "source"):
        if getattr(request, name) not in (None, getattr(held, name)):
            return name
    return "metadata" if request.metadata else "tags" if request.tags else "shared_with"


def request_hash(request: CreateMemory, namespace: str) -> str:
    """Return what tells requests of one owner apart: everything that is said of the memory."""
    said: dict[str, Any] = unstructure(attrs.evolve(request, agent_id=None, idempotency_key=None, namespace=namespace))
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _tags(held: Memory, request: CreateMemory) -> tuple[str, ...]:
    if not request.tags:
        return held.tags
    tags = tuple(dict.fromkeys((*held.tags, *request.tags)))
    if len(tags) > max(TAGS, len(held.tags)):
        raise _Contradiction
    return tags


def _metadata(held: Memory, request: CreateMemory, sayings: Sayings) -> dict[str, Any]:
    if not request.metadata or request.metadata is held.metadata:
        return held.metadata
    present, said = sayings.of(held.metadata), sayings.of(request.metadata)
    if said.contradicts(present):
        raise _Contradiction
    if present.values.keys() >= said.values.keys():
        return held.metadata
    if present.size_with(said) > METADATA_BYTES:
        raise _Contradiction
    return sayings.add(held.metadata, request.metadata)


def _readers(held: Memory, request: CreateMemory) -> tuple[Share, ...]:
    listed = {share.agent_id for share in held.shared_with}
    more = [agent_id for agent_id in dict.fromkeys(request.shared_with) if agent_id not in listed]
    if not more:
        return held.shared_with
    if len(listed) + len(more) > max(SHARES, len(held.shared_with)):
        raise _Contradiction
    return (*held.shared_with, *map(Share, more))


def _are_other_readers(held: Memory, request: CreateMemory) -> bool:
    listed = {share.agent_id for share in held.shared_with}
    return held.access_level is AccessLevel.SHARED and listed != set(request.shared_with)


def _shows_more(held: Memory, draft: Memory) -> bool:
    """Tell whether a memory that lacks nothing of a draft has labels that the draft has not."""
    return (
        not set(held.tags) <= set(draft.tags)
        or len(held.metadata) > len(draft.metadata)
        or (held.source, held.memory_type, held.importance) != (draft.source, draft.memory_type, draft.importance)
    )


def _agreed(held: Any, said: Any) -> Any:
    if said is None or said == held:
        return held
    if held is None:
        return said
    raise _Contradiction


def _later(held: datetime | None, said: datetime | None) -> datetime | None:
    return None if held is None or said is None else max(held, said)


def _expires_earlier(held: Memory, request: CreateMemory) -> bool:
    """Tell whether the request wants the memory to expire before it does."""
    said = request.expires_at
    return said is not None and (held.expires_at is None or said < held.expires_at)


def _differs(value: object, held: object) -> bool:
    """Tell whether a value is another one: what says nothing new is the very object that is there."""
    return value is not held and value != held
