"""The store: the only truth, read in snapshots and changed in transactions."""

from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal, Protocol

import attrs

from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.embedding import Canary, EmbeddingModel, Vector
from tmws_core.domain.memory import AccessLevel, Identity, Memory, MemoryStats, MemoryVersion, Uses
from tmws_core.domain.text import Lexical
from tmws_core.ports.agents import Agents
from tmws_core.ports.audit import AuditLog
from tmws_core.ports.credentials import Credentials
from tmws_core.ports.health import Flaw, Read, Reindexed, StorageHealth, unheard

Order = Literal["newest", "oldest"]

ALIKE = 32
"""How many memories with one identity a new one is compared with, the newest: that many differ in a fact seldom."""

ALIKE_BYTES = 8 * 2**20
"""How much of such memories is read for one request, beside the newest of each identity: 32 of the largest are 3 MiB.

Parsing metadata makes 64 bytes of objects from 3 bytes, and takes 0.05 s, for a MiB of empty lists (measured).
"""

FORMER_TEXTS = 100
"""The longest page of former texts, as of memories."""

FORMER_BYTES = 1024 * 1024
"""Of a page of former texts, which ends when it has so many: what an answer of ordinary length has (decision)."""


@attrs.frozen(kw_only=True)
class NewMemory:
    """A memory to be stored, with what the indexes need of it.

    `memory.document` is 0: the store assigns the number. `vector` is None while the embedder has not answered.
    `content_hash` is that of the text.
    """

    memory: Memory
    content_hash: str
    lexical: Lexical = attrs.field(factory=Lexical)
    vector: Vector | None


@attrs.frozen(kw_only=True)
class UsedKey:
    """An idempotency key of an agent, and the memory that the first call with it was answered with.

    `request_hash` tells one request from another; a version that did not keep it has left None. The memory was there
    before that call if it is a `duplicate`.
    """

    agent_id: str
    key: str
    memory_id: str
    request_hash: str | None
    duplicate: bool = False


@attrs.frozen
class Relinked:
    """A memory that has another successor, or none unless it is still `superseded`, as the one it had was deleted."""

    id: str
    agent_id: str
    namespace: str
    access_level: AccessLevel = attrs.field(converter=AccessLevel)
    embedded: bool = attrs.field(converter=bool)
    superseded: bool = attrs.field(converter=bool)


@attrs.frozen(kw_only=True)
class Fingerprint:
    """What makes a new memory a repetition `at` a time: the owner's idempotency key, or the same memory in force."""

    identity: Identity
    idempotency_key: str | None
    at: datetime


@attrs.frozen(kw_only=True)
class Known:
    """What the store has already of a new memory.

    `used` is what became of its idempotency key, and `keyed` the memory that it names, which is there. `alike` are
    those in force that have its identity, oldest first, the newest ALIKE of them, and fewer where those of all new
    memories are more than ALIKE_BYTES; new memories of one identity share them.
    """

    used: UsedKey | None = None
    keyed: Memory | None = None
    alike: tuple[Memory, ...] = ()


@attrs.frozen(kw_only=True)
class Unembedded:
    """A text that waits for its vector."""

    document: int
    agent_id: str
    content: str
    occurred_at: datetime | None


@attrs.frozen(kw_only=True)
class Searchable:
    """What a search by meaning may find: what in the scope has a vector of the active `model`, if there is one.

    Documents mean the same on one `timeline` only (0 if the store cannot tell): a server that took over without the
    last commits gives their numbers to others.
    """

    scope: Scope
    model: EmbeddingModel | None
    timeline: int = 0
    _documents: "array[int] | None" = None

    @property
    def documents(self) -> "array[int]":
        """Return the documents, if the store was asked for them: ascending, type code "q", and not to be changed."""
        if self._documents is None:
            raise RuntimeError("the store was not asked for the documents of this scope")
        return self._documents


class MemoryReader(Protocol):
    """Memories as of one snapshot."""

    async def get(self, memory_id: str, visibility: Visibility) -> Memory:
        """Return one memory; MemoryNotFound unless it exists and is visible."""
        ...

    async def successors(self, memory_id: str, limit: int) -> list[str]:
        """Return what has replaced a memory, what has replaced that, and so on, whoever may see them: `limit` at most.

        In a unit of work nobody changes until its end what replaces what.
        """
        ...

    async def replaced(self, memory_id: str, agent_id: str, limit: int) -> int:
        """Return how many memories of an agent name a memory as their successor, whoever's it is: `limit` at most."""
        ...

    async def visible(self, memory_ids: Sequence[str], visibility: Visibility) -> set[str]:
        """Return those of the ids whose memories exist and are visible."""
        ...

    async def page(self, scope: Scope, *, after: str | None, limit: int, order: Order) -> list[Memory]:
        """Return at most `limit` memories of the scope in the order of their ids, beginning behind the id `after`.

        None is shown twice, nor left out if it was there at the first call. What is stored since comes behind in the
        order "oldest", unless a unit beside it, in PostgreSQL or by another clock, was shown first and has higher ids.
        """
        ...

    async def searchable(self, scope: Scope) -> Searchable:
        """Return what a search by meaning may find, with its documents."""
        ...

    async def partitions(self) -> "dict[str, array[int]]":
        """Return all documents that have a vector of the active model, by partition: ascending, type code "q".

        A partition holds what callers mostly see either whole or not at all. Its name is made of the namespace and the
        audience: `{namespace}|private|{agent_id}`, `{namespace}|team`, `{namespace}|shared`, or `{namespace}|open` for
        public and system.
        """
        ...

    async def of_documents(self, documents: Sequence[int], scope: Scope) -> dict[int, Memory]:
        """Return the memories of those documents that lie in the scope, by document."""
        ...

    async def known(self, fingerprints: Sequence[Fingerprint]) -> list[Known]:
        """Tell for each fingerprint, in order, what is stored of it; the key of a memory that is gone is not used."""
        ...

    async def history(
        self, memory_id: str, *, order: Order = "oldest", behind: int | None = None, limit: int = FORMER_TEXTS
    ) -> list[MemoryVersion]:
        """Return at most `limit` former texts of a memory in the order of their versions, from behind that version on.

        It ends with the text by which it has FORMER_BYTES. What was read before in this transaction showed the memory.
        """
        ...

    async def count_history(self, memory_id: str) -> int:
        """Count the former texts of a memory; what was read before in this transaction showed it."""
        ...

    async def texts_at(self, memory_ids: Sequence[str], moment: datetime) -> dict[str, MemoryVersion]:
        """Return the former texts that memories had at a moment, by memory; left out is what has its own still.

        What was read before in this transaction showed them.
        """
        ...

    async def rewritten(self, memory_ids: Collection[str], content: str | None = None) -> set[str]:
        """Return those of the memories that have a former text, or that very one; no text is read for it.

        What was read before in this transaction showed them.
        """
        ...

    async def uses(self, documents: Sequence[int]) -> dict[int, Uses]:
        """Return how often the memories of those documents were used, by document; unused ones are left out.

        What was read before in this transaction showed them.
        """
        ...

    async def stats(self, visibility: Visibility) -> MemoryStats:
        """Count the visible memories, expired and superseded ones included."""
        ...

    async def unembedded(self, limit: int, without: Collection[int] = (), after: str = "") -> list[Unembedded]:
        """Return at most `limit` texts without a vector, in the order in which it is their turn.

        Agents take turns, by name: those that come `after` that one, then from the first one on, with one text each;
        then with the next one of each. Of an agent the most important come first, then the newest; those of the
        documents `without` are left out.
        """
        ...


class MemoryWriter(Protocol):
    """Changes of memories within one transaction; each brings the lexical entry and the vector along."""

    async def add(self, new: Sequence[NewMemory]) -> None:
        """Store memories, their shares, lexical entries and vectors."""
        ...

    async def remember(self, keys: Sequence[UsedKey]) -> None:
        """Remember what keys were answered with, used ones too; KEYS of the repetitions of a memory are kept."""
        ...

    async def replace(self, former: Memory, changed: NewMemory) -> None:
        """Put the changed memory in the place of the former one.

        A changed text, or a changed date, gets a new document, lexical entry and vector, and a former text goes to the
        history. Where both stay, the document does, and `changed.vector` and `changed.lexical` are ignored.
        """
        ...

    async def delete(self, memory: Memory, at: datetime | None = None) -> list[Relinked]:
        """Remove a memory with its shares, history, lexical entry, vector and idempotency keys.

        What it had replaced is replaced by its own successor, or is in force again if it has none, or none that the
        owner of what was replaced may see. Each of them has a new version, and was changed `at` that moment, or when
        the deleted one was changed last. They are returned. InvalidField if that brings back turns of the same owner
        with more than BETWEEN others between them.
        """
        ...

    async def add_uses(self, uses: Mapping[str, Uses]) -> None:
        """Add to how often memories were used, by id; those that are gone are passed over."""
        ...

    async def put_vectors(self, vectors: Mapping[int, Vector]) -> int:
        """Add vectors of the active model by document and return how many; documents that are gone are passed over."""
        ...


class Snapshot(Protocol):
    """A consistent view of the store: what was committed when its first read began."""

    @property
    def memories(self) -> MemoryReader:
        """Memories in this snapshot."""
        ...

    @property
    def agents(self) -> Agents:
        """Agents in this snapshot."""
        ...

    @property
    def credentials(self) -> Credentials:
        """API keys and revoked tokens in this snapshot."""
        ...

    @property
    def audit_log(self) -> AuditLog:
        """The audit log in this snapshot."""
        ...


class UnitOfWork(Protocol):
    """One transaction: it sees its own writes, nobody else sees any of them before it commits."""

    @property
    def memories(self) -> MemoryReader:
        """Memories as this transaction sees them."""
        ...

    @property
    def changes(self) -> MemoryWriter:
        """Changes of memories."""
        ...

    @property
    def agents(self) -> Agents:
        """Agents."""
        ...

    @property
    def credentials(self) -> Credentials:
        """API keys and revoked tokens."""
        ...

    @property
    def audit_log(self) -> AuditLog:
        """The audit log."""
        ...

    async def audit(self, events: Sequence[AuditEvent]) -> None:
        """Append to the audit log."""
        ...

    async def use_model(self, model: EmbeddingModel, canary: Canary | None = None) -> None:
        """Make `model` the store's active one if it has none yet; ModelMismatch if it has another.

        It stays so until the unit ends. The canary, and the calibration, is kept with it unless it has one already.
        """
        ...


class Storage(Protocol):
    """The store. Safe for any number of tasks; every method may raise a StorageUnavailable."""

    def read(self) -> AbstractAsyncContextManager[Snapshot]:
        """Open a snapshot."""
        ...

    def write(self, agent_id: str = "") -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a transaction: durable when the block ends, rolled back if it raises; those of one agent take turns."""
        ...

    def embedding(self) -> AbstractAsyncContextManager[bool]:
        """Become the one process that embeds what waits until the block ends; False while another one is.

        One that is killed is none any more, and one that stands still for minutes may have become a second one.
        """
        ...

    async def count_words(self, texts: Sequence[str]) -> list[Counter[str] | None]:
        """Return what a unit of work needs to know of lexical texts, in order, so that it does not take its time.

        That is how often each has each word, or None in a store that has its database count them.
        """
        ...

    async def vectors(
        self, documents: Sequence[int], model: EmbeddingModel | None = None, timeline: int | None = None
    ) -> dict[int, Vector]:
        """Return the active model's vectors of documents; none if another `model` or `timeline` is the store's."""
        ...

    async def model(self) -> EmbeddingModel | None:
        """Return the active model, or None in a store that holds no vector yet."""
        ...

    async def canary(self, model: EmbeddingModel) -> Canary | None:
        """Return what one of the store's models is recognised by, or None."""
        ...

    async def changes(self) -> int:
        """Return a number that is another one whenever memories, or their vectors, may have changed; cheap."""
        ...

    async def health(self) -> StorageHealth:
        """Prove that the store can be read; raises when it cannot."""
        ...

    async def reindex(self, read: Read = unheard) -> Reindexed:
        """Make what the lexical index holds of the memories that of their texts again, where it is not.

        Others may read and change memories meanwhile. What was made anew before it is interrupted stays.
        """
        ...

    async def integrity(self, read: Read = unheard) -> list[Flaw]:
        """Check the whole store and return what is wrong with it; empty when it is sound. Slow on a large one."""
        ...
