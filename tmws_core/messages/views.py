"""How domain objects become answers."""

from typing import Any

from tmws_core.domain.access import may_manage
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import Memory, Share
from tmws_core.messages.memory import MemoryView, ShareView


def shares(shared_with: tuple[Share, ...]) -> tuple[ShareView, ...]:
    """Return a memory's list of agents."""
    return tuple(ShareView(agent_id=share.agent_id, permission=share.permission) for share in shared_with)


def fields(memory: Memory, caller: Caller) -> dict[str, Any]:
    """Return the arguments of a MemoryView of this memory for this caller."""
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
        "superseded_by": memory.superseded_by,
        "embedded": memory.embedded,
    }


def view(memory: Memory, caller: Caller) -> MemoryView:
    """Return a memory as this caller sees it."""
    return MemoryView(**fields(memory, caller))
