"""Memories: store, read, change, share, delete."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

import anyio
import attrs

from tmws_core.admission import Admission
from tmws_core.aside import each_aside
from tmws_core.domain.access import Visibility, may_manage, visibility_of
from tmws_core.domain.agent import Agent, Belongings, Caller, Permission
from tmws_core.domain.audit import AuditEvent, Detail
from tmws_core.domain.embedding import Vector
from tmws_core.domain.events import MemoriesChanged
from tmws_core.domain.memory import AccessLevel, Memory, Share, normalised
from tmws_core.domain.text import lexical_document, passage
from tmws_core.embedding import StoreEmbedder
from tmws_core.errors import (
    ContentTooLarge,
    EmbedderUnavailable,
    Forbidden,
    InvalidField,
    LicenseLimit,
    MemoryNotFound,
    QuotaExceeded,
    VersionConflict,
)
from tmws_core.identity import actor
from tmws_core.messages import changes, views
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
from tmws_core.ports.audit import Witness
from tmws_core.ports.bus import Bus
from tmws_core.ports.storage import Fingerprint, Known, NewMemory, Storage, UnitOfWork
from tmws_core.ports.system import Clock, Ids

_REFUSALS = (InvalidField, Forbidden)
_LIMITS = (ContentTooLarge, LicenseLimit, QuotaExceeded)


@attrs.frozen(kw_only=True)
class _Draft:
    """A memory that is about to be stored, and what would make it a repetition."""

    memory: Memory
    fingerprint: Fingerprint

    @property
    def passage(self) -> str:
        return passage(self.memory.content, self.memory.occurred_at)

    def stored(self, vector: Vector | None, lexical: str) -> NewMemory:
        return NewMemory(
            memory=attrs.evolve(self.memory, embedded=vector is not None),
            content_hash=self.fingerprint.content_hash,
            lexical=lexical,
            vector=vector,
            idempotency_key=self.fingerprint.idempotency_key,
        )


@attrs.frozen(kw_only=True)
class Memories:
    """The changes of memories: each is one transaction, and is acknowledged only once it is durable.

    A text that has no vector after `embed_timeout` is stored without one, and gets it when the embedder is back. So is
    one whose store has changed to another model than the embedder's.
    """

    storage: Storage
    embedder: StoreEmbedder
    bus: Bus
    clock: Clock
    ids: Ids
    witness: Witness
    admission: Admission
    audited: bool
    embed_timeout: timedelta

    @operation(
        "create_memory",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.WRITE,
        raises=(*_LIMITS, *_REFUSALS),
    )
    async def create(self, caller: Caller, request: CreateMemory) -> MemoryCreated:
        """Store one memory, durably, and make it searchable at once."""
        return (await self._create(caller, (request,)))[0]

    @operation(
        "create_memories",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.WRITE,
        raises=(*_LIMITS, *_REFUSALS),
        command="create-batch",
    )
    async def create_many(self, caller: Caller, request: CreateMemories) -> MemoriesCreated:
        """Store up to 1000 memories at once: all or none."""
        return MemoriesCreated(results=tuple(await self._create(caller, request.memories)))

    @operation(
        "update_memory",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.UPDATE,
        raises=(MemoryNotFound, VersionConflict, *_LIMITS, *_REFUSALS),
    )
    async def update(self, caller: Caller, request: UpdateMemory) -> MemoryUpdated:
        """Change a memory; a former text is kept as history, and null empties what may be empty."""
        changes.check_update(request)
        async with self.storage.read() as snapshot:
            acting = await actor(snapshot.agents, caller, request.agent_id, self.witness)
            former = await snapshot.memories.get(request.memory_id, visibility_of(acting))
        changes.check_change(acting, former, request)
        expected = changes.changed(former, request, caller, self.clock.now(), embedded=False)
        vectors = None
        if expected.embedded_by != former.embedded_by:
            vectors, _ = await self._embed([passage(*expected.embedded_by)])
        (lexical,) = await each_aside(lexical_document, [expected.content if request.says_anew else ""])
        now = self.clock.now()
        async with self.storage.write() as unit:
            former = await unit.memories.get(request.memory_id, visibility_of(acting))
            changes.check_change(acting, former, request)
            await _check_successor(unit, visibility_of(acting), request)
            vectors = await self._usable(unit, vectors)
            changed = changes.changed(former, request, caller, now, embedded=vectors is not None)
            if changed.embedded_by != expected.embedded_by:
                # Somebody has changed the text or the date meanwhile: what was prepared stands for what will not be.
                vectors, changed = None, changes.changed(former, request, caller, now, embedded=False)
                lexical = lexical_document(changed.content) if request.says_anew else ""
            owned = await self._admit_change(unit, acting, former, changed)
            await unit.changes.replace(
                former,
                NewMemory(
                    memory=changed,
                    content_hash=_content_hash(changed.content),
                    lexical=lexical,
                    vector=vectors[0] if vectors else None,
                ),
            )
            await self.admission.check(unit.agents, [changed.agent_id], owned)
            await self._record(unit, caller, "memory.updated", [changed], acting)
        await self._announce([changed])
        return MemoryUpdated(memory_id=changed.id, version=changed.version, embedding_generated=changed.embedded)

    @operation(
        "delete_memory",
        toolset="memory",
        permission=Permission.MEMORY_WRITE,
        effect=Effect.DELETE,
        raises=(MemoryNotFound, *_REFUSALS),
    )
    async def delete(self, caller: Caller, request: DeleteMemory) -> MemoryDeleted:
        """Delete a memory and its history for good."""
        async with self.storage.write() as unit:
            acting = await actor(unit.agents, caller, request.agent_id, self.witness)
            memory = await unit.memories.get(request.memory_id, visibility_of(acting))
            if not may_manage(acting, memory):
                raise Forbidden(action="delete this memory", needs="its owner or an administrator")
            await unit.changes.delete(memory)
            await self._record(unit, caller, "memory.deleted", [memory], acting)
        await self._announce([memory])
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
        async with self.storage.write() as unit:
            acting = await actor(unit.agents, caller, request.agent_id, self.witness)
            former = await unit.memories.get(request.memory_id, visibility_of(acting))
            if not may_manage(acting, former):
                raise Forbidden(action="share this memory", needs="its owner or an administrator")
            changed = changes.shared(former, request, caller, self.clock.now())
            await unit.changes.replace(
                former,
                NewMemory(memory=changed, content_hash=_content_hash(changed.content), lexical="", vector=None),
            )
            await self._record(unit, caller, "memory.shared", [changed], acting)
        await self._announce([changed])
        return MemoryShared(
            memory_id=changed.id, access_level=changed.access_level, shared_with=views.shares(changed.shared_with)
        )

    async def _create(self, caller: Caller, requests: Sequence[CreateMemory]) -> list[MemoryCreated]:
        async with self.storage.read() as snapshot:
            named = dict.fromkeys(request.agent_id for request in requests)
            owners = {agent_id: await actor(snapshot.agents, caller, agent_id, self.witness) for agent_id in named}
            drafts = [self._draft(caller, owners[request.agent_id], request) for request in requests]
            fingerprints = [draft.fingerprint for draft in drafts]
            known = await snapshot.memories.known(fingerprints)
        fresh = _first_of_each(drafts, known)
        if not fresh:
            return [_answer(draft, found, 0.0) for draft, found in zip(drafts, known, strict=True)]
        vectors, milliseconds = await self._embed([draft.passage for draft in fresh])
        lexical = await each_aside(lexical_document, [draft.memory.content for draft in fresh])
        async with self.storage.write() as unit:
            taken = await unit.memories.known([draft.fingerprint for draft in fresh])
            vectors = await self._usable(unit, vectors)
            new = [
                draft.stored(vectors[index] if vectors else None, lexical[index])
                for index, draft in enumerate(fresh)
                if taken[index] is None
            ]
            await self._register(unit, new)
            await unit.changes.add(new)
            await self.admission.check(unit.agents, {item.memory.agent_id for item in new})
            await self._record(unit, caller, "memory.created", [item.memory for item in new])
            stored = await unit.memories.known(fingerprints) if len(new) < len(drafts) else list(map(_itself, new))
        await self._announce([item.memory for item in new])
        each = round(milliseconds / len(fresh), 3)
        return [_answer(*row, each) for row in zip(drafts, map(_either, stored, known), strict=True)]

    def _draft(self, caller: Caller, owner: Caller, request: CreateMemory) -> _Draft:
        if not owner.may(Permission.MEMORY_WRITE):
            raise Forbidden(action=f"store as {owner.agent_id}", needs="a role that may write", name="agent_id")
        namespace = request.namespace or owner.namespace
        elsewhere = namespace != owner.namespace
        if elsewhere and not caller.may(Permission.ANY_NAMESPACE) and not caller.manages(namespace):
            raise Forbidden(action=f"write to the namespace {namespace}", needs="membership of it", name="namespace")
        if request.access_level is AccessLevel.SYSTEM and not caller.may(Permission.ADMINISTER):
            raise Forbidden(action="write system memories", needs="an administrator", name="access_level")
        if request.shared_with and request.access_level is not AccessLevel.SHARED:
            raise InvalidField(name="shared_with", reason="needs the access level shared", hint="Set access_level")
        now = self.clock.now()
        memory = Memory(
            id=self.ids.new(),
            document=0,
            agent_id=owner.agent_id,
            namespace=namespace,
            content=request.content,
            memory_type=request.memory_type,
            importance=request.importance,
            access_level=request.access_level,
            shared_with=tuple(Share(agent_id) for agent_id in dict.fromkeys(request.shared_with)),
            tags=tuple(dict.fromkeys(request.tags)),
            metadata=request.metadata,
            session_id=request.session_id,
            sequence=request.sequence,
            occurred_at=request.occurred_at,
            expires_at=request.expires_at,
            source=request.source,
            written_by=caller.agent_id,
            transport=caller.transport,
            created_at=now,
            updated_at=now,
        )
        fingerprint = Fingerprint(
            agent_id=owner.agent_id,
            namespace=namespace,
            content_hash=_content_hash(request.content),
            idempotency_key=request.idempotency_key,
        )
        return _Draft(memory=memory, fingerprint=fingerprint)

    async def _embed(self, passages: Sequence[str]) -> tuple[list[Vector] | None, float]:
        """Return the vectors and the milliseconds they took; no vectors while the embedder is down."""
        started = self.clock.monotonic()
        try:
            with anyio.fail_after(self.embed_timeout.total_seconds()):
                vectors = await self.embedder.passages(passages)
        except (EmbedderUnavailable, TimeoutError):
            return None, 0.0
        return vectors, (self.clock.monotonic() - started) * 1000

    async def _usable(self, unit: UnitOfWork, vectors: list[Vector] | None) -> list[Vector] | None:
        """Return the vectors, or None if the store has changed to another model since they were made."""
        return vectors if vectors and await self.embedder.adopt(unit) else None

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
        memories: Sequence[Memory],
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

    async def _announce(self, memories: Sequence[Memory]) -> None:
        if memories:
            await self.bus.publish(
                MemoriesChanged(
                    memory_ids=tuple(memory.id for memory in memories),
                    unembedded=sum(not memory.embedded for memory in memories),
                )
            )


def _content_hash(content: str) -> str:
    return hashlib.sha256(normalised(content).encode()).hexdigest()


def _first_of_each(drafts: Sequence[_Draft], known: Sequence[Known | None]) -> list[_Draft]:
    """Return the drafts that repeat neither what is stored nor an earlier draft."""
    seen: set[tuple[str, ...]] = set()
    fresh = []
    for draft, found in zip(drafts, known, strict=True):
        fingerprint = draft.fingerprint
        keys: set[tuple[str, ...]] = {(fingerprint.agent_id, fingerprint.namespace, fingerprint.content_hash)}
        if fingerprint.idempotency_key is not None:
            keys.add((fingerprint.agent_id, fingerprint.idempotency_key))
        if found is None and not keys & seen:
            fresh.append(draft)
        seen |= keys
    return fresh


def _itself(new: NewMemory) -> Known:
    return Known(memory_id=new.memory.id, embedded=new.memory.embedded, duplicate=False)


def _either(later: Known | None, earlier: Known | None) -> Known | None:
    return later or earlier


def _answer(draft: _Draft, found: Known | None, milliseconds: float) -> MemoryCreated:
    if found is None or found.memory_id == draft.memory.id:
        embedded = found is not None and found.embedded
        return MemoryCreated(
            memory_id=draft.memory.id,
            embedding_generated=embedded,
            embedding_latency_ms=milliseconds if embedded else 0.0,
        )
    return MemoryCreated(
        memory_id=found.memory_id,
        embedding_generated=found.embedded,
        embedding_latency_ms=0.0,
        duplicate_of=found.memory_id if found.duplicate else None,
    )


async def _check_successor(unit: UnitOfWork, visibility: Visibility, request: UpdateMemory) -> None:
    if isinstance(request.superseded_by, str):
        try:
            await unit.memories.get(request.superseded_by, visibility)
        except MemoryNotFound as error:
            raise attrs.evolve(error, name="superseded_by") from None
