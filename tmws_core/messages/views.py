"""How domain objects become answers."""

from collections.abc import Collection, Iterable
from typing import Any

from tmws_core.domain.access import may_manage, visibility_of
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import Memory, Share
from tmws_core.messages.memory import MemoryView, ShareView
from tmws_core.ports.storage import MemoryReader


def shares(shared_with: tuple[Share, ...]) -> tuple[ShareView, ...]:
    """Return a memory's list of agents."""
    return tuple(ShareView(agent_id=share.agent_id, permission=share.permission) for share in shared_with)


async def successors(reader: MemoryReader, shown: Iterable[Memory], caller: Caller) -> Collection[str]:
    """Return the memories that replaced those shown, as far as the caller may know of them."""
    replaced_by = [memory.superseded_by for memory in shown if memory.superseded_by is not None]
    visibility = visibility_of(caller)
    return await reader.visible(replaced_by, visibility) if replaced_by and not visibility.everything else replaced_by


def fields(memory: Memory, caller: Caller, known: Collection[str]) -> dict[str, Any]:
    """Return the arguments of a MemoryView of this memory for this caller, who knows of these successors."""
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
        "shared_with": shares(memory.shared_with) if memory.shared_with and may_manage(caller, memory) else None,
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
        "superseded_by": memory.superseded_by if memory.superseded_by in known else None,
        "embedded": memory.embedded,
    }


def view(memory: Memory, caller: Caller, known: Collection[str]) -> MemoryView:
    """Return a memory as this caller, who knows of these successors, sees it."""
    return MemoryView(**fields(memory, caller, known))
