"""Settles what is stored anew: which memory each request is answered with, in the order of the requests.

An answer names a memory of the ledger, and the ledger has none but those that the store was found to hold and those
that it is to hold when the transaction ends.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from tmws_core.aside import Aside, at_once
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import Identity, Memory, in_force
from tmws_core.errors import KeyConflict, KeyRepeated
from tmws_core.messages.drafting import Draft
from tmws_core.messages.drafting import draft as drafted
from tmws_core.messages.finding import Found
from tmws_core.messages.memory import CreateMemory, MemoryCreated
from tmws_core.messages.merging import Merged, contradiction, difference, merged
from tmws_core.messages.sayings import Sayings
from tmws_core.ports.storage import ALIKE, Known, MemoryReader, UsedKey

EFFORT = 8192
"""Names, tags and readers that are looked at to find what one request repeats, beside what may say the same: 256 for
each of ALIKE memories, so that 1,000 requests look at 8 million."""

_FEW = 30
"""Requests of which memories are made at once, in less than a millisecond."""


@attrs.frozen(kw_only=True)
class Entry:
    """How one request is answered: with a memory of the ledger, which it has stored or not."""

    memory_id: str
    stored: bool = False
    duplicate: bool = False
    merged: tuple[str, ...] = ()


@attrs.define(kw_only=True)
class Ledger:
    """What becomes of drafts in one transaction; nothing is written here.

    `added` are those to be stored, `changed` the memories that others were merged with, as they were and as they are to
    be, and `keys` what is to be remembered of idempotency keys.
    """

    _caller: Caller
    _now: datetime
    _found: Found
    _sayings: Sayings
    added: list[Draft] = attrs.field(factory=list, init=False)
    changed: dict[str, tuple[Memory, Memory]] = attrs.field(factory=dict, init=False)
    keys: dict[tuple[str, str], UsedKey] = attrs.field(factory=dict, init=False)
    entries: list[Entry] = attrs.field(factory=list, init=False)
    _places: dict[str, int] = attrs.field(factory=dict, init=False)
    _users: dict[tuple[str, str], str] = attrs.field(factory=dict, init=False)
    _memories: dict[str, Memory] = attrs.field(factory=dict, init=False)
    _alike: dict[Identity, list[str]] = attrs.field(factory=lambda: defaultdict(list), init=False)

    def settle(self, drafts: Sequence[Draft]) -> None:
        """Settle the drafts that were asked for, in order.

        Raises:
            KeyConflict: a key was used for something else.
            KeyRepeated: another one of the drafts has used it.
        """
        for draft, known in zip(drafts, self._found.known, strict=True):
            self.entries.append(self._settle(draft, known))

    @property
    def writes(self) -> bool:
        """Tell whether anything is to be written."""
        return bool(self.added or self.changed or self.keys)

    def used_keys(self, ids: Mapping[str, str]) -> list[UsedKey]:
        """Return what is to be remembered of idempotency keys; `ids` are those that the added ones are stored with."""
        return [attrs.evolve(each, memory_id=ids.get(each.memory_id, each.memory_id)) for each in self.keys.values()]

    def answers(self, ids: Mapping[str, str], embedded: Mapping[str, float]) -> list[MemoryCreated]:
        """Return the answers; `embedded` has the milliseconds that the vectors of the added ones took, by those ids."""
        return [self._answer(each, ids, embedded) for each in self.entries]

    def _answer(self, entry: Entry, ids: Mapping[str, str], embedded: Mapping[str, float]) -> MemoryCreated:
        memory = self._memories[entry.memory_id]
        memory_id = ids.get(memory.id, memory.id)
        return MemoryCreated(
            memory_id=memory_id,
            stored=entry.stored,
            embedding_generated=memory.embedded or memory_id in embedded,
            embedding_latency_ms=embedded.get(memory_id, 0.0) if entry.stored else 0.0,
            duplicate_of=memory_id if entry.duplicate else None,
            merged=entry.merged or None,
            expired=(memory.expires_at is not None and memory.expires_at <= self._now) or None,
        )

    def _settle(self, draft: Draft, known: Known) -> Entry:
        self._meet(known)
        return self._by_key(draft, known) or self._by_identity(draft, known) or self._add(draft)

    def _meet(self, known: Known) -> None:
        for memory in (known.keyed, *known.alike):
            if memory is not None:
                self._memories.setdefault(memory.id, memory)

    def _by_key(self, draft: Draft, known: Known) -> Entry | None:
        """Return the entry of a request whose key was used, or None if it is free."""
        wanted = draft.used_key("", duplicate=False)
        if wanted is None:
            return None
        used = self.keys.get((wanted.agent_id, wanted.key), known.used)
        if used is None:
            return None
        memory = self._memories[used.memory_id]
        if self._is_repeated(used, wanted, memory, draft):
            return Entry(memory_id=memory.id, duplicate=used.duplicate)
        if not in_force(memory, self._now):
            return None
        differs = difference(memory, draft.memory)
        both = None if differs else self._merged(memory, draft)
        if both is None:
            raise self._conflict(draft, wanted, memory, differs or contradiction(memory, draft.request))
        return self._merge(both, duplicate=used.duplicate)

    def _conflict(self, draft: Draft, wanted: UsedKey, memory: Memory, differs: str) -> KeyConflict | KeyRepeated:
        """Return the error that names what has the key: another request of these, or else the stored memory."""
        name = f"{draft.place}idempotency_key"
        other = self._users.get((wanted.agent_id, wanted.key))
        if other is None:
            return KeyConflict(memory_id=memory.id, differs=differs, name=name)
        return KeyRepeated(other=other.removesuffix("."), differs=differs, name=name)

    def _is_repeated(self, used: UsedKey, wanted: UsedKey, memory: Memory, draft: Draft) -> bool:
        if used.request_hash is not None:
            return used.request_hash == wanted.request_hash
        # Of what a version without the hash was asked for, the text alone is known.
        return draft.memory.content == memory.content or (memory.id, draft.memory.content) in self._found.former

    def _by_identity(self, draft: Draft, known: Known) -> Entry | None:
        """Return the entry of a request whose memory is there, in so many words or with what can be added to them.

        What has expired before it is stored repeats nothing, and nothing repeats it.
        """
        if not in_force(draft.memory, self._now):
            return None
        ids = [each.id for each in known.alike] + self._alike[draft.identity]
        both = self._nearest([self._memories[memory_id] for memory_id in ids[-ALIKE:]], draft)
        if both is None:
            return None
        self._use(draft, both.memory.id, duplicate=True)
        return self._merge(both, duplicate=True)

    def _nearest(self, alike: Sequence[Memory], draft: Draft) -> Merged | None:
        """Return the memory that the fewest fields have to be added to, of several the oldest."""
        nearest = None
        for memory in self._compared(alike, draft):
            both = self._merged(memory, draft)
            if both is not None and (nearest is None or len(both.fields) < len(nearest.fields)):
                nearest = both
                if not both.fields:
                    break
        return nearest

    def _compared(self, alike: Sequence[Memory], draft: Draft) -> list[Memory]:
        """Return those that the draft is compared with: what may say the same, and the newest of the others."""
        chosen = []
        effort = 0
        for memory in reversed(alike):
            if memory.tags == draft.memory.tags and self._says_the_same(memory, draft):
                effort += len(memory.shared_with) + len(draft.request.shared_with)
                chosen.append(memory)
                continue
            effort += _effort(memory) + _effort(draft.memory)
            if not chosen or effort <= EFFORT:
                chosen.append(memory)
        return chosen[::-1]

    def _says_the_same(self, memory: Memory, draft: Draft) -> bool:
        if not draft.request.metadata or not memory.metadata:
            return not draft.request.metadata and not memory.metadata
        return self._sayings.of(memory.metadata).whole == self._sayings.of(draft.request.metadata).whole

    def _merged(self, memory: Memory, draft: Draft) -> Merged | None:
        if not in_force(memory, self._now):
            return None
        said = draft.request, draft.memory
        rewritten = memory.id in self._found.rewritten
        return merged(memory, *said, self._caller, sayings=self._sayings, rewritten=rewritten)

    def _merge(self, both: Merged, *, duplicate: bool) -> Entry:
        memory = both.memory
        if memory != self._memories[memory.id]:
            self._change(memory)
        return Entry(memory_id=memory.id, duplicate=duplicate, merged=both.fields)

    def _change(self, memory: Memory) -> None:
        present = self._memories[memory.id]
        place = self._places.get(memory.id)
        if place is not None:
            # It is not stored yet, so that this is its first version still.
            first = attrs.evolve(memory, version=present.version)
            self.added[place] = attrs.evolve(self.added[place], memory=first)
            self._memories[memory.id] = first
            return
        former, _ = self.changed.get(memory.id, (present, present))
        memory = attrs.evolve(memory, version=former.version + 1)
        self.changed[memory.id] = former, memory
        self._memories[memory.id] = memory

    def _add(self, draft: Draft) -> Entry:
        self._places[draft.memory.id] = len(self.added)
        self.added.append(draft)
        self._memories[draft.memory.id] = draft.memory
        self._alike[draft.identity].append(draft.memory.id)
        self._use(draft, draft.memory.id, duplicate=False)
        return Entry(memory_id=draft.memory.id, stored=True)

    def _use(self, draft: Draft, memory_id: str, *, duplicate: bool) -> None:
        key = draft.used_key(memory_id, duplicate=duplicate)
        if key is not None:
            self.keys[key.agent_id, key.key] = key
            self._users[key.agent_id, key.key] = draft.place


def _effort(memory: Memory) -> int:
    """Return how many things are looked at to compare a memory with another one."""
    return len(memory.metadata) + len(memory.tags) + len(memory.shared_with)


@attrs.define
class Settling:
    """Settles requests, which are given by their places, and once more only where something is not what it was.

    `ids` tell the memories apart that they become, until these are stored. The namespace that a request means is the
    one that its owner has at first. What is large is worked on in a thread, and no longer than EFFORT allows.
    """

    _requests: Mapping[str, CreateMemory]
    _ids: Sequence[str]
    _sayings: Sayings = attrs.field(factory=Sayings, init=False)
    _by: tuple[Caller, Mapping[str | None, Caller]] | None = attrs.field(default=None, init=False)
    _namespaces: dict[str | None, str] = attrs.field(factory=dict, init=False)
    _drafts: Sequence[Draft] = attrs.field(default=(), init=False)
    _found: Found | None = attrs.field(default=None, init=False)
    _outcome: Ledger | KeyConflict | KeyRepeated = attrs.field(init=False)

    async def found(
        self, reader: MemoryReader, caller: Caller, owners: Mapping[str | None, Caller], now: datetime
    ) -> Found:
        """Return what a store is found to hold of the requests of a caller, whose `owners` they name.

        Raises:
            Forbidden: the caller may not store one of them.
            InvalidField: one of them cannot be.
        """
        if self._by != (caller, owners):
            self._found = None
            self._drafts = await at_once(lambda: self._drafted(caller, owners, now), long=len(self._ids) > _FEW)
            self._by = caller, owners
        return await Found.of(reader, self._drafts, now)

    async def settled(self, found: Found, caller: Caller, now: datetime, work: Aside) -> Ledger:
        """Return what becomes of the requests; what is long of that is done by `work`.

        Raises:
            KeyConflict: a key was used for something else.
            KeyRepeated: another one of the requests has used it.
        """
        long = len(self._drafts) > 1 or found.is_anything or self._drafts[0].request.idempotency_key is not None
        return await work(lambda: self._settled(caller, found, now), long=long)

    def _drafted(self, caller: Caller, owners: Mapping[str | None, Caller], now: datetime) -> Sequence[Draft]:
        drafts = []
        for memory_id, (place, request) in zip(self._ids, self._requests.items(), strict=True):
            owner = owners[request.agent_id]
            namespace = self._namespaces.setdefault(request.agent_id, owner.namespace)
            if namespace != owner.namespace:
                request = attrs.evolve(request, namespace=request.namespace or namespace)  # noqa: PLW2901 - what it means
            drafts.append(drafted(caller, owner, place, request, memory_id, now))
        return drafts

    def _settled(self, caller: Caller, found: Found, now: datetime) -> Ledger:
        if self._found is not None:
            found = found.beside(self._found)
        if found != self._found:
            self._found, self._outcome = (
                found,
                self._anew(Ledger(caller=caller, now=now, found=found, sayings=self._sayings)),
            )
        if isinstance(self._outcome, Ledger):
            return self._outcome
        raise attrs.evolve(self._outcome)

    def _anew(self, ledger: Ledger) -> Ledger | KeyConflict | KeyRepeated:
        try:
            ledger.settle(self._drafts)
        except (KeyConflict, KeyRepeated) as error:
            return error
        return ledger
