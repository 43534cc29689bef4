"""Reading memories without ranking: one, a page of them, or how many there are."""

from itertools import accumulate

import attrs

from tmws_core.domain import cursor
from tmws_core.domain.access import Scope, Visibility, visibility_of
from tmws_core.domain.agent import Caller, Permission
from tmws_core.domain.excerpt import excerpt, range_end, size_of
from tmws_core.domain.ids import LENGTH
from tmws_core.domain.memory import Memory, MemoryFilter, MemoryVersion
from tmws_core.errors import Forbidden, InvalidField, MemoryNotFound
from tmws_core.identity import actor
from tmws_core.messages import views
from tmws_core.messages.beginnings import starting_with
from tmws_core.messages.memory import (
    FormerText,
    GetMemory,
    GetMemoryStats,
    ListMemories,
    MemoryBrief,
    MemoryCounts,
    MemoryFound,
    MemoryPage,
    MemoryView,
)
from tmws_core.messages.paging import Cursors
from tmws_core.operation import Effect, operation
from tmws_core.ports.audit import Witness
from tmws_core.ports.storage import MemoryReader, Order, Storage
from tmws_core.ports.system import Clock
from tmws_core.usage import Usage

NAMED = 5
"""Ids that are named where more than one begins with what was asked for."""

MORE_DIGITS = "Give more digits of the id"

_BESIDE = 150
"""Bytes that an answer tells of a former text beside it."""


@attrs.frozen
class _History:
    """A page of former texts, oldest first, how many there are in all, and the version behind which more follow."""

    texts: tuple[FormerText, ...]
    total: int
    end: int | None

    @classmethod
    async def read(cls, reader: MemoryReader, request: GetMemory, behind: str | None) -> "_History":
        """Read the page that begins behind a position; it has as many texts as have room together, and one at least."""
        order: Order = "oldest" if request.oldest_first else "newest"
        version = None if behind is None else cursor.number(behind)
        found = await reader.history(request.memory_id, order=order, behind=version)
        total = await reader.count_history(request.memory_id)
        sizes = accumulate(size_of(text.content) + _BESIDE for text in found)
        page = found[: max(sum(size <= request.max_chars for size in sizes), 1)]
        more = len(page) < len(found)
        if page and not more and len(found) < total:
            more = bool(await reader.history(request.memory_id, order=order, behind=page[-1].version, limit=1))
        texts = tuple(_former(text, request.max_chars) for text in sorted(page, key=lambda text: text.version))
        return cls(texts, total, page[-1].version if more else None)


def _former(text: MemoryVersion, room: int) -> FormerText:
    """Return a former text, or the beginning of one that is too long."""
    shown = excerpt(text.content, room)
    length = None if shown.offset is None else len(text.content)
    return FormerText(**attrs.asdict(text) | {"content": shown.text}, length=length)


def _found(view: MemoryView, request: GetMemory) -> MemoryFound:
    """Return a memory with as much of its text as is asked for."""
    text = view.content
    end = range_end(text, request.offset, request.max_chars)
    if request.offset == 0 and end == len(text):
        return MemoryFound(memory=view)
    return MemoryFound(
        memory=attrs.evolve(view, content=text[request.offset : end]),
        length=len(text),
        offset=request.offset,
        next_offset=end if end < len(text) else None,
    )


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
        """Read one memory by its id, a long one in ranges: go on with `next_offset` as `offset`.

        Use it for what a search has cut, or for the history.
        """
        beyond = await self.cursors.position(caller, request)
        former = None
        async with self.storage.read() as snapshot:
            acting = await actor(snapshot.agents, caller, request.agent_id, self.witness)
            memory = await self._memory(snapshot.memories, request.memory_id, visibility_of(acting))
            if request.include_history:
                former = await _History.read(snapshot.memories, attrs.evolve(request, memory_id=memory.id), beyond)
            naming = await views.naming(snapshot.memories, [memory], acting)
        if self.usage is not None:
            self.usage.note(memory.id)
        found = _found(views.view(memory, acting, naming), request)
        if former is None:
            return found
        return attrs.evolve(
            found,
            history=former.texts,
            history_total=former.total,
            next_cursor=None if former.end is None else await self.cursors.at(caller, request, str(former.end)),
        )

    async def _memory(self, reader: MemoryReader, memory_id: str, asker: Visibility) -> Memory:
        if len(memory_id) == LENGTH:
            return await reader.get(memory_id, asker)
        every = MemoryFilter(include_expired=True, include_superseded=True)
        scope = Scope(visibility=asker, filter=every, at=self.clock.now())
        found = await starting_with(reader, scope, memory_id, NAMED)
        match found:
            case []:
                raise MemoryNotFound(memory_id=memory_id)
            case [memory]:
                return memory
        ids = ", ".join(memory.id for memory in found)
        raise InvalidField(
            name="memory_id", reason=f"more than one id begins with {memory_id}: {ids}", hint=MORE_DIGITS
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
        """List memories, newest first, page by page; long ones are cut.

        Use it to go through all of them; to look for something, search_memories.
        """
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
            naming = await views.naming(snapshot.memories, page, caller)
        more = len(memories) > len(page)
        shown = await views.shown(page, request.max_chars)
        return MemoryPage(
            memories=tuple(
                MemoryBrief(**views.brief(memory, caller, naming, part, asked=request))
                for memory, part in zip(page, shown, strict=True)
            ),
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
