"""Memories that are named by the first digits of their ids."""

from tmws_core.domain.access import Scope
from tmws_core.domain.ids import LENGTH, start_of_id
from tmws_core.domain.memory import Memory
from tmws_core.ports.storage import MemoryReader


async def starting_with(reader: MemoryReader, scope: Scope, start: str, limit: int) -> list[Memory]:
    """Return the oldest `limit` memories of a scope whose ids begin with these digits, or are this id."""
    begun = start_of_id(start)
    if begun is None:
        return []
    # In the order of ids those that begin with a part of one come right behind it.
    behind, most = (begun, limit) if len(begun) < LENGTH else (begun[:-1], 16)
    page = await reader.page(scope, after=behind, limit=most, order="oldest")
    return [memory for memory in page if memory.id.startswith(begun)]
