"""Memories that are about to be stored: what requests make of them, and what makes them repetitions."""

from datetime import datetime
from functools import cached_property

import attrs

from tmws_core.domain.agent import Caller, Permission
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import AccessLevel, Identity, Memory, MemoryType, Share, identity_of
from tmws_core.domain.text import Lexical
from tmws_core.errors import Forbidden, InvalidField
from tmws_core.messages.memory import CreateMemory
from tmws_core.messages.merging import request_hash
from tmws_core.ports.storage import Fingerprint, NewMemory, UsedKey

IMPORTANCE = 0.5
"""Of a memory of which nobody says how important it is."""


@attrs.frozen(kw_only=True)
class Draft:
    """A memory that is about to be stored, as its request describes it; `place` leads to that, such as `memories[2].`.

    `memory` has a version already, and an id of its own until it is stored; what is stored may have other facts, if it
    was merged with a later one.
    """

    place: str
    request: CreateMemory
    memory: Memory
    identity: Identity

    def fingerprint(self, now: datetime) -> Fingerprint:
        """Return what the store is asked about it."""
        return Fingerprint(identity=self.identity, idempotency_key=self.request.idempotency_key, at=now)

    @cached_property
    def request_hash(self) -> str:
        """Return what tells the request from another one; it is made once, since it takes a millisecond."""
        return request_hash(self.request, self.memory.namespace)

    def stored(self, memory_id: str, vector: Vector | None, lexical: Lexical, now: datetime) -> NewMemory:
        """Return what the store gets."""
        embedded = vector is not None
        return NewMemory(
            memory=attrs.evolve(self.memory, id=memory_id, embedded=embedded, created_at=now, updated_at=now),
            content_hash=self.identity.content_hash,
            lexical=lexical,
            vector=vector,
        )

    def used_key(self, memory_id: str, *, duplicate: bool) -> UsedKey | None:
        """Return the idempotency key as it is remembered for the memory that the request is answered with."""
        if self.request.idempotency_key is None:
            return None
        return UsedKey(
            agent_id=self.memory.agent_id,
            key=self.request.idempotency_key,
            memory_id=memory_id,
            request_hash=self.request_hash,
            duplicate=duplicate,
        )


def draft(  # noqa: PLR0917 - each is another's to know
    caller: Caller, owner: Caller, place: str, request: CreateMemory, memory_id: str, now: datetime
) -> Draft:
    """Return the memory that a request describes, which the caller stores for its owner.

    Raises:
        Forbidden: the caller may not.
        InvalidField: the access level has no use for a list of readers.
    """
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
    memory = Memory(
        id=memory_id,
        document=0,
        agent_id=owner.agent_id,
        namespace=namespace,
        content=request.content,
        memory_type=request.memory_type or MemoryType.EPISODIC,
        importance=IMPORTANCE if request.importance is None else request.importance,
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
    return Draft(place=place, request=request, memory=memory, identity=identity_of(memory))
