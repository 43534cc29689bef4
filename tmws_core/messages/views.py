"""How domain objects become answers."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

from tmws_core.aside import aside, each_aside
from tmws_core.domain.access import Visibility, may_manage, visibility_of
from tmws_core.domain.agent import Caller
from tmws_core.domain.excerpt import Excerpt, cutter, excerpts, size_of
from tmws_core.domain.memory import Memory, Share
from tmws_core.messages.memory import MemoryView, ShareView
from tmws_core.ports.storage import MemoryReader

TAG_BYTES = 100
"""Of the tags of one memory in a list: about ten words; all tags that one may have are as long as three excerpts."""

_BRIEF = frozenset(
    (
        "memory_id",
        "content",
        "truncated",
        "length",
        "offset",
        "occurred_at",
        "expires_at",
        "created_at",
        "superseded_by",
    )
)
"""What a list tells of every memory."""


class Asked(Protocol):
    """What a request for memories says of how they are told."""

    @property
    def details(self) -> bool:
        """Whether all fields are told."""

    @property
    def namespace(self) -> str | None:
        """The only namespace that was asked for."""


_LIGHT = 8 * 1024
"""Characters of which excerpts are made at once: in 1.3 ms where each is a ligature of eighteen letters (measured)."""

_ALL = Visibility("", "", everything=True)


def share_views(shared_with: tuple[Share, ...]) -> tuple[ShareView, ...]:
    """Return a memory's list of agents."""
    return tuple(ShareView(agent_id=share.agent_id, permission=share.permission) for share in shared_with)


async def naming(reader: MemoryReader, shown: Iterable[Memory], caller: Caller) -> Collection[str]:
    """Return which of the memories shown may name to the caller what has replaced them: what the caller sees.

    What is gone, and replaces a memory nevertheless, as earlier versions left it, is named to who may bring that back.
    """
    replaced = [(memory, memory.superseded_by) for memory in shown if memory.superseded_by is not None]
    visibility = visibility_of(caller)
    if not replaced or visibility.everything:
        return {memory.id for memory, _ in replaced}
    seen = await reader.visible([later for _, later in replaced], visibility)
    own = [(memory.id, later) for memory, later in replaced if later not in seen and may_manage(caller, memory)]
    there = await reader.visible([later for _, later in own], _ALL) if own else ()
    gone = {memory_id for memory_id, later in own if later not in there}
    return gone | {memory.id for memory, later in replaced if later in seen}


def fields(memory: Memory, caller: Caller, naming: Collection[str]) -> dict[str, Any]:
    """Return the arguments of a MemoryView for this caller; the memories `naming` their successor do so."""
    return {
        "memory_id": memory.id,
        "content": memory.content,
        "metadata": memory.metadata,
        "agent_id": memory.agent_id,
        "namespace": memory.namespace,
        "memory_type": memory.memory_type,
        "importance": memory.importance,
        "access_level": memory.access_level,
        "tags": memory.tags,
        "shared_with": share_views(memory.shared_with) if memory.shared_with and may_manage(caller, memory) else None,
        "session_id": memory.session_id,
        "sequence": memory.sequence,
        "occurred_at": memory.occurred_at,
        "expires_at": memory.expires_at,
        "source": memory.source,
        "written_by": memory.written_by,
        "transport": memory.transport,
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
        "version": memory.version,
        "superseded_by": memory.superseded_by if memory.id in naming else None,
        "embedded": memory.embedded,
    }


async def shown(memories: Sequence[Memory], room: int, query: str | None = None) -> list[Excerpt]:
    """Return what an answer with so much `room` shows of each of the memories: see `excerpts`."""
    texts = [memory.content for memory in memories]
    if sum(map(len, texts)) <= _LIGHT:
        return excerpts(texts, room, query)
    return await each_aside(await aside(partial(cutter, texts, room, query), long=True), texts)


def brief(memory: Memory, caller: Caller, naming: Collection[str], shown: Excerpt, *, asked: Asked) -> dict[str, Any]:
    """Return the arguments of a MemoryBrief for this caller, with what is `shown` of the text."""
    told = fields(memory, caller, naming) | {"content": shown.text}
    if shown.offset is not None:
        told |= {"truncated": True, "length": len(memory.content), "offset": shown.offset}
    if asked.details:
        return told
    tags = _few(memory.tags)
    more = len(memory.tags) - len(tags)
    owner = None if memory.agent_id == caller.agent_id else memory.agent_id
    elsewhere = None if memory.namespace == (asked.namespace or caller.namespace) else memory.namespace
    kept = {name: value for name, value in told.items() if name in _BRIEF}
    return kept | {"tags": tags, "more_tags": more or None, "agent_id": owner, "namespace": elsewhere}


def _few(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first tags: one, and as many as TAG_BYTES hold together with it."""
    return tags[: max(sum(size <= TAG_BYTES for size in accumulate(map(size_of, tags))), 1)]


def view(memory: Memory, caller: Caller, naming: Collection[str]) -> MemoryView:
    """Return a memory as this caller sees it; the memories `naming` their successor do so."""
    return MemoryView(**fields(memory, caller, naming))
