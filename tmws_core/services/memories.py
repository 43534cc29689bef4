"""Memories: store, read, change, share, delete."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import attrs

from tmws_core.admission import Admission
from tmws_core.aside import aside, at_once
from tmws_core.domain.access import Visibility, may_manage, visibility_of
from tmws_core.domain.agent import Agent, Belongings, Caller, Permission
from tmws_core.domain.audit import AuditEvent, Detail
from tmws_core.domain.events import MemoriesChanged
from tmws_core.domain.memory import REPLACED, SUCCESSORS, Memory, content_hash
from tmws_core.domain.text import Lexical
from tmws_core.domain.unset import UNSET
from tmws_core.errors import (
    ContentTooLarge,
    Forbidden,
    InvalidField,
    KeyConflict,
    KeyRepeated,
    LicenseLimit,
    MemoryNotFound,
    QuotaExceeded,
    VersionConflict,
)
from tmws_core.identity import Writing, foreseen
from tmws_core.messages import changes, views
from tmws_core.messages.drafting import Draft
from tmws_core.messages.ledger import Ledger, Settling
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    MemoriesCreated,
    MemoryCreated,
    MemoryDeleted,
    MemoryShared,
    MemoryUpdated,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.operation import Effect, operation
from tmws_core.ports.bus import Bus
from tmws_core.ports.storage import NewMemory, Relinked, Storage, UnitOfWork
from tmws_core.ports.system import Clock, Ids
from tmws_core.preparing import Prepared, Preparing

_REFUSALS = (InvalidField, Forbidden)

_ANSWERS = (*_REFUSALS, KeyConflict, KeyRepeated, MemoryNotFound, VersionConflict)
"""What only a unit may answer with: a snapshot may be a replica's, which is behind while the primary is away."""

_LIMITS = (ContentTooLarge, LicenseLimit, QuotaExceeded)

_TRIES = 3
"""Times that a change is tried whose text somebody else changes meanwhile."""


@attrs.frozen(kw_only=True)
class Memories:
    """The changes of memories: each is one transaction, and is acknowledged only once it is durable.

    What takes long, such as embedding, is prepared outside of it from a snapshot, and decides nothing: the answer, the
    caller's rights and the time are found in the transaction. It ends without a change where what was prepared is not
    what is to be written, and begins again after more was prepared.

    A text that has no vector in time is stored without one, and gets it when the embedder is back. So is one that the
    embedder refuses, alone of its batch, one that was thought to be there already, and one whose store has changed to
    another model than the embedder's.
    """

    storage: Storage
    writing: Writing
    preparing: Preparing
    bus: Bus
    clock: Clock
    ids: Ids
    admission: Admission
    audited: bool

    @operation(
        "create_memory",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.WRITE,
        raises=(KeyConflict, *_LIMITS, *_REFUSALS),
    )
    async def create(self, caller: Caller, request: CreateMemory) -> MemoryCreated:
        """Store one memory, durably, and make it searchable at once.

        Use it for a decision, fact, preference or lesson that will matter later.
        """
        return (await self._create(caller, {"": request}))[0]

    @operation(
        "create_memories",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.WRITE,
        raises=(KeyConflict, KeyRepeated, *_LIMITS, *_REFUSALS),
        command="create-batch",
    )
    async def create_many(self, caller: Caller, request: CreateMemories) -> MemoriesCreated:
        """Store up to 1000 memories at once: all or none.

        Use it for several facts, or for the turns of a conversation.
        """
        placed = {f"memories[{index}].": each for index, each in enumerate(request.memories)}
        return MemoriesCreated(results=tuple(await self._create(caller, placed)))

    @operation(
        "update_memory",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.UPDATE,
        raises=(MemoryNotFound, VersionConflict, *_LIMITS, *_REFUSALS),
    )
    async def update(self, caller: Caller, request: UpdateMemory) -> MemoryUpdated:
        """Change a memory; a former text is kept as history, and null empties an optional field.

        Use it where a fact has changed, rather than storing another memory.
        """
        changes.check_update(request)
        prepared = await self._prepared(caller, request)
        overtaken: list[Memory] = []
        while len(overtaken) < _TRIES:
            done = await self._change(caller, request, prepared)
            if isinstance(done, MemoryUpdated):
                return done
            overtaken.append(done)
            prepared = await self.preparing.with_words(prepared, [done.content])
        *_, expected, actual = (each.version - 1 for each in overtaken)
        raise VersionConflict(memory_id=request.memory_id, expected=expected, actual=actual)

    @operation(
        "delete_memory",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.DELETE,
        raises=(MemoryNotFound, *_REFUSALS),
    )
    async def delete(self, caller: Caller, request: DeleteMemory) -> MemoryDeleted:
        """Delete a memory and its history for good.

        Use it for what should never have been stored; for what has changed use update_memory.
        """
        async with self.writing(caller, Permission.MEMORY_WRITE, acting=[request.agent_id]) as standing:
            unit, acting = standing.unit, standing.actor(request.agent_id)
            memory = await unit.memories.get(request.memory_id, visibility_of(acting))
            if not may_manage(acting, memory):
                raise Forbidden(action="delete this memory", needs="its owner or an administrator")
            relinked = await unit.changes.delete(memory, self.clock.now())
            changes.check_return(acting, relinked)
            if memory.superseded_by is not None and any(each.superseded for each in relinked):
                # What others own is nothing that the owner could do about.
                replaced = await unit.memories.replaced(memory.superseded_by, memory.agent_id, REPLACED + 1)
                changes.check_relinked(replaced)
            await self._record(unit, caller, "memory.deleted", [memory], acting)
            await self._record(unit, caller, "memory.updated", relinked, acting)
        await self._announce([memory, *relinked])
        return MemoryDeleted(memory_id=memory.id)

    @operation(
        "share_memory",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.UPDATE,
        raises=(MemoryNotFound, *_REFUSALS),
    )
    async def share(self, caller: Caller, request: ShareMemory) -> MemoryShared:
        """Let other agents read or write a memory, or stop it; a private memory becomes shared."""
        async with self.writing(caller, Permission.MEMORY_WRITE, acting=[request.agent_id]) as standing:
            unit, acting = standing.unit, standing.actor(request.agent_id)
            former = await unit.memories.get(request.memory_id, visibility_of(acting))
            if not may_manage(acting, former):
                raise Forbidden(action="share this memory", needs="its owner or an administrator")
            changed = changes.shared(former, request, caller, self.clock.now())
            await unit.changes.replace(
                former,
                NewMemory(memory=changed, content_hash=content_hash(changed.content), vector=None),
            )
            await self._record(unit, caller, "memory.shared", [changed], acting)
        await self._announce([changed])
        return MemoryShared(
            memory_id=changed.id, access_level=changed.access_level, shared_with=views.share_views(changed.shared_with)
        )

    async def _create(self, caller: Caller, requests: Mapping[str, CreateMemory]) -> list[MemoryCreated]:
        """Store memories, and return the answers to the requests, which are given by their places."""
        settling = Settling(requests, [self.ids.new() for _ in requests])
        expected = await self._expected(caller, requests, settling)
        prepared = await self.preparing.prepared(caller, [each.memory for each in expected])
        answers = await self._store(caller, requests, settling, prepared)
        while answers is None:
            # Something is there no more since it was looked for: with the words of all requests none is missing.
            prepared = await self.preparing.with_words(prepared, [each.content for each in requests.values()])
            answers = await self._store(caller, requests, settling, prepared)
        return answers

    async def _store(
        self, caller: Caller, requests: Mapping[str, CreateMemory], settling: Settling, prepared: Prepared
    ) -> list[MemoryCreated] | None:
        """Store memories, and return the answers; None, with nothing written, if one of them is not prepared."""
        named = dict.fromkeys(request.agent_id for request in requests.values())
        async with self.writing(caller, Permission.MEMORY_WRITE, acting=named) as standing:
            unit = standing.unit
            owners = {agent_id: standing.actor(agent_id) for agent_id in named}
            now = self.clock.now()
            found = await settling.found(unit.memories, standing.caller, owners, now)
            ledger = await settling.settled(found, standing.caller, now, at_once)
            if not ledger.writes:
                return ledger.answers({}, {})
            added = [each.memory for each in ledger.added]
            if not all(map(prepared.fits, added)):
                return None
            vectors = await self.preparing.usable(unit, prepared, added)
            now = self.clock.now()
            # In the order in which units begin to write, so that whoever pages by ids finds what comes later behind.
            ids = {each.memory.id: self.ids.new() for each in ledger.added}
            new = [
                each.stored(memory_id, vectors.get(each.memory.id), prepared.words[each.memory.content], now)
                for memory_id, each in zip(ids.values(), ledger.added, strict=True)
            ]
            changed = await self._write(unit, new, ledger, ids, now)
            await self._record(unit, caller, "memory.created", [item.memory for item in new])
            await self._record(unit, caller, "memory.updated", changed)
        await self._announce([*(item.memory for item in new), *changed])
        each = round(prepared.milliseconds / max(len(prepared.passages), 1), 3)
        return ledger.answers(ids, dict.fromkeys((item.memory.id for item in new if item.vector is not None), each))

    async def _expected(
        self, caller: Caller, requests: Mapping[str, CreateMemory], settling: Settling
    ) -> Sequence[Draft]:
        """Return what is probably to be stored; nothing where a request will probably be refused."""
        with suppress(*_ANSWERS):
            async with self.storage.read() as snapshot:
                named = dict.fromkeys(request.agent_id for request in requests.values())
                owners = {agent_id: await foreseen(snapshot.agents, caller, agent_id) for agent_id in named}
                now = self.clock.now()
                found = await settling.found(snapshot.memories, caller, owners, now)
            # Without a snapshot, which others wait for.
            return (await settling.settled(found, caller, now, aside)).added
        return ()

    async def _prepared(self, caller: Caller, request: UpdateMemory) -> Prepared:
        """Prepare the text that a memory will probably get."""
        if request.says_anew:
            with suppress(*_ANSWERS):
                async with self.storage.read() as snapshot:
                    acting = await foreseen(snapshot.agents, caller, request.agent_id)
                    former = await snapshot.memories.get(request.memory_id, visibility_of(acting))
                changes.check_change(acting, former, request)
                changed = changes.changed(former, request, caller, self.clock.now(), embedded=False)
                if changed.embedded_by != former.embedded_by:
                    return await self.preparing.prepared(caller, [changed])
        return await self.preparing.prepared(caller)

    async def _change(self, caller: Caller, request: UpdateMemory, prepared: Prepared) -> MemoryUpdated | Memory:
        """Change a memory; or return what it would become, with nothing written, if that is not prepared."""
        async with self.writing(caller, Permission.MEMORY_WRITE, acting=[request.agent_id]) as standing:
            unit, acting = standing.unit, standing.actor(request.agent_id)
            former = await unit.memories.get(request.memory_id, visibility_of(acting))
            changes.check_change(acting, former, request)
            await _check_successor(unit, visibility_of(acting), former, request)
            now = self.clock.now()
            changed = changes.changed(former, request, caller, now, embedded=False)
            if changed.embedded_by != former.embedded_by and not prepared.fits(changed):
                return changed
            vectors = await self.preparing.usable(unit, prepared, [changed])
            changed = changes.changed(former, request, caller, now, embedded=bool(vectors))
            owned = await self._admit_change(unit, acting, former, changed)
            await unit.changes.replace(
                former,
                NewMemory(
                    memory=changed,
                    content_hash=content_hash(changed.content),
                    lexical=prepared.words.get(changed.content, Lexical()),
                    vector=vectors.get(changed.id),
                ),
            )
            await self.admission.check(unit.agents, [changed.agent_id], owned, by_other=not may_manage(acting, former))
            await self._record(unit, caller, "memory.updated", [changed], acting)
        await self._announce([changed])
        return MemoryUpdated(memory_id=changed.id, version=changed.version, embedding_generated=changed.embedded)

    async def _write(
        self, unit: UnitOfWork, new: Sequence[NewMemory], ledger: Ledger, ids: Mapping[str, str], now: datetime
    ) -> list[Memory]:
        """Write what a ledger has settled, and return the memories that were changed by it."""
        changed = [
            (former, attrs.evolve(memory, updated_at=max(now, former.updated_at)))
            for former, memory in ledger.changed.values()
        ]
        owners = {item.memory.agent_id for item in new}
        others = {memory.agent_id for _, memory in changed} - owners
        owned = await self.admission.belongings(unit.agents, others) if others else {}
        await self._register(unit, new)
        for former, memory in changed:
            await unit.changes.replace(
                former,
                NewMemory(memory=memory, content_hash=content_hash(memory.content), vector=None),
            )
        await unit.changes.add(new)
        await unit.changes.remember(ledger.used_keys(ids))
        await self.admission.check(unit.agents, owners | set(owned), owned)
        return [memory for _, memory in changed]

    async def _register(self, unit: UnitOfWork, new: Sequence[NewMemory]) -> None:
        for agent_id, memory in {item.memory.agent_id: item.memory for item in new}.items():
            now = memory.created_at
            agent = Agent(id=agent_id, namespace=memory.namespace, created_at=now, updated_at=now)
            await self.admission.register(unit.agents, agent)

    async def _admit_change(
        self, unit: UnitOfWork, acting: Caller, former: Memory, changed: Memory
    ) -> Mapping[str, Belongings]:
        """Check that a text may be changed, and return what its owner has; an administrator takes the owner's seat."""
        if changed.content != former.content:
            writer = former.agent_id if acting.may(Permission.ADMINISTER) else acting.agent_id
            await self.admission.seat(unit.agents, writer)
        return await self.admission.belongings(unit.agents, [former.agent_id])

    async def _record(
        self,
        unit: UnitOfWork,
        caller: Caller,
        event_type: str,
        memories: Sequence[Memory | Relinked],
        acting: Caller | None = None,
    ) -> None:
        """Append to the audit log; without `acting`, the caller acted for the owners."""
        if self.audited:
            now = self.clock.now()
            events = []
            for memory in memories:
                actor_id = memory.agent_id if acting is None else acting.agent_id
                details: dict[str, Detail] = {"memory_id": memory.id, "owner": memory.agent_id}
                if actor_id != caller.agent_id:
                    details["acting_for"] = actor_id
                details["transport"] = caller.transport
                event = AuditEvent(timestamp=now, event_type=event_type, agent_id=caller.agent_id, details=details)
                events.append(event)
            await unit.audit(events)

    async def _announce(self, memories: Sequence[Memory | Relinked]) -> None:
        if memories:
            await self.bus.publish(
                MemoriesChanged(
                    memory_ids=tuple(memory.id for memory in memories),
                    unembedded=sum(not memory.embedded for memory in memories),
                )
            )


async def _check_successor(unit: UnitOfWork, visibility: Visibility, memory: Memory, request: UpdateMemory) -> None:
    if request.superseded_by is UNSET:
        return
    successor = request.superseded_by
    if successor is not None:
        # Before anybody has to wait for the walk, and once more when nobody can delete it meanwhile.
        await _check_visible(unit, visibility, successor)
    # Also where there is to be none: nobody may say otherwise meanwhile.
    successors = await unit.memories.successors(successor or memory.id, SUCCESSORS)
    if successor is not None:
        await _check_visible(unit, visibility, successor)
        # Only now: what has replaced a memory is for those to know who may see that memory.
        changes.check_successor(memory, successors)
        if memory.superseded_by != successor:
            changes.check_replaced(await unit.memories.replaced(successor, memory.agent_id, REPLACED))


async def _check_visible(unit: UnitOfWork, visibility: Visibility, successor: str) -> None:
    try:
        await unit.memories.get(successor, visibility)
    except MemoryNotFound as error:
        raise attrs.evolve(error, name="superseded_by") from None
