"""Reading memories without ranking: one, a page of them, or how many there are."""

import attrs

from tmws_core.domain.access import Scope, visibility_of
from tmws_core.domain.agent import Caller, Permission
from tmws_core.errors import Forbidden, InvalidField, MemoryNotFound
from tmws_core.identity import actor
from tmws_core.messages import views
from tmws_core.messages.memory import (
    FormerText,
    GetMemory,
    GetMemoryStats,
    ListMemories,
    MemoryCounts,
    MemoryFound,
    MemoryPage,
)
from tmws_core.messages.paging import Cursors
from tmws_core.operation import Effect, operation
from tmws_core.ports.audit import Witness
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock
from tmws_core.usage import Usage


@attrs.frozen(kw_only=True)
class Browsing:
    """What can be read of memories besides the search; `usage` is told what is read by its id."""

    storage: Storage
    clock: Clock
    witness: Witness
    cursors: Cursors
    usage: Usage | None = None

    @operation(
        "get_memory",
        toolset="memory",
        permission=Permission.MEMORY_READ,
        effect=Effect.READ,
        raises=(MemoryNotFound, Forbidden, InvalidField),
        quotes=True,
    )
    async def get(self, caller: Caller, request: GetMemory) -> MemoryFound:
        """Read one memory by its id."""
        async with self.storage.read() as snapshot:
            acting = await actor(snapshot.agents, caller, request.agent_id, self.witness)
            memory = await snapshot.memories.get(request.memory_id, visibility_of(acting))
            former = await snapshot.memories.history(memory.id) if request.include_history else None
            known = await views.successors(snapshot.memories, [memory], acting)
        if self.usage is not None:
            self.usage.note(memory.id)
        return MemoryFound(
            memory=views.view(memory, acting, known),
            history=None if former is None else tuple(FormerText(**attrs.asdict(text)) for text in former),
        )

    @operation(
        "list_memories",
        toolset="memory",
        permission=Permission.MEMORY_READ,
        effect=Effect.READ,
        raises=(InvalidField,),
        quotes=True,
    )
    async def page(self, caller: Caller, request: ListMemories) -> MemoryPage:
        """List memories, newest first, page by page."""
        after = await self.cursors.position(caller, request)
        scope = Scope(
            visibility=visibility_of(caller),
            filter=request.as_filter(include_superseded=request.include_superseded),
            at=self.clock.now(),
        )
        async with self.storage.read() as snapshot:
            memories = await snapshot.memories.page(
                scope,
                after=after,
                limit=request.limit + 1,
                order="oldest" if request.oldest_first else "newest",
            )
            page = memories[: request.limit]
            known = await views.successors(snapshot.memories, page, caller)
        more = len(memories) > len(page)
        return MemoryPage(
            memories=tuple(views.view(memory, caller, known) for memory in page),
            next_cursor=await self.cursors.at(caller, request, page[-1].id) if more else None,
        )

    @operation(
        "get_memory_stats",
        toolset="memory",
        permission=Permission.MEMORY_READ,
        effect=Effect.READ,
        raises=(Forbidden, InvalidField),
    )
    async def stats(self, caller: Caller, request: GetMemoryStats) -> MemoryCounts:
        """Count the memories that you can see."""
        async with self.storage.read() as snapshot:
            acting = await actor(snapshot.agents, caller, request.agent_id, self.witness)
            return MemoryCounts(**attrs.asdict(await snapshot.memories.stats(visibility_of(acting))))
