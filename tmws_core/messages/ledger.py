"""Settles what is stored anew: which memory each request is answered with, in the order of the requests.

An answer names a memory of the ledger, and the ledger has none but those that the store was found to hold and those
that it is to hold when the transaction ends.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import Identity, Memory, in_force
from tmws_core.errors import KeyConflict, KeyRepeated
from tmws_core.messages.drafting import Draft
from tmws_core.messages.memory import MemoryCreated
from tmws_core.messages.merging import Merged, contradiction, difference, merged
from tmws_core.ports.storage import ALIKE, Known, MemoryReader, UsedKey


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
    _rewritten: Collection[str]
    _former: Collection[tuple[str, str]]
    added: list[Draft] = attrs.field(factory=list, init=False)
    changed: dict[str, tuple[Memory, Memory]] = attrs.field(factory=dict, init=False)
    keys: dict[tuple[str, str], UsedKey] = attrs.field(factory=dict, init=False)
    entries: list[Entry] = attrs.field(factory=list, init=False)
    _users: dict[tuple[str, str], str] = attrs.field(factory=dict, init=False)
    _memories: dict[str, Memory] = attrs.field(factory=dict, init=False)
    _alike: dict[Identity, list[str]] = attrs.field(factory=lambda: defaultdict(list), init=False)

    @classmethod
    async def settled(cls, reader: MemoryReader, caller: Caller, drafts: Sequence[Draft], now: datetime) -> "Ledger":
        """Ask what is known of the drafts, and settle them.

        Raises:
            KeyConflict: a key was used for something else.
            KeyRepeated: another one of the drafts has used it.
        """
        known = await reader.known([each.fingerprint for each in drafts])
        shared = {memory_id for each in known for memory_id in _shared_and_changed(each)}
        rewritten = await reader.rewritten(shared) if shared else set()
        unhashed = {
            (each.used.memory_id, draft.memory.content)
            for draft, each in zip(drafts, known, strict=True)
            if each.used is not None and each.used.request_hash is None
        }
        former = {(memory_id, text) for memory_id, text in unhashed if await reader.rewritten([memory_id], text)}
        ledger = cls(caller=caller, now=now, rewritten=rewritten, former=former)
        for draft, found in zip(drafts, known, strict=True):
            ledger.entries.append(ledger._settle(draft, found))
        return ledger

    @property
    def writes(self) -> bool:
        """Tell whether anything is to be written."""
        return bool(self.added or self.changed or self.keys)

    def answers(self, embedded: Mapping[str, float]) -> list[MemoryCreated]:
        """Return the answers; `embedded` has the milliseconds that the vectors of the added ones took."""
        return [self._answer(each, embedded) for each in self.entries]

    def _answer(self, entry: Entry, embedded: Mapping[str, float]) -> MemoryCreated:
        memory = self._memories[entry.memory_id]
        return MemoryCreated(
            memory_id=memory.id,
            stored=entry.stored,
            embedding_generated=memory.embedded or memory.id in embedded,
            embedding_latency_ms=embedded.get(memory.id, 0.0) if entry.stored else 0.0,
            duplicate_of=memory.id if entry.duplicate else None,
            merged=entry.merged or None,
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
        return draft.memory.content == memory.content or (memory.id, draft.memory.content) in self._former

    def _by_identity(self, draft: Draft, known: Known) -> Entry | None:
        """Return the entry of a request whose memory is there, in so many words or with what can be added to them.

        What has expired before it is stored repeats nothing, and nothing repeats it.
        """
        if not in_force(draft.memory, self._now):
            return None
        ids = [each.id for each in known.alike] + self._alike[draft.identity]
        alike = [self._memories[memory_id] for memory_id in ids[-ALIKE:]]
        found = [both for both in (self._merged(each, draft) for each in alike) if both is not None]
        if not found:
            return None
        both = min(found, key=lambda each: len(each.fields))
        self._use(draft, both.memory.id, duplicate=True)
        return self._merge(both, duplicate=True)

    def _merged(self, memory: Memory, draft: Draft) -> Merged | None:
        if not in_force(memory, self._now):
            return None
        rewritten = memory.id in self._rewritten
        return merged(memory, draft.request, self._caller, self._now, rewritten=rewritten)

    def _merge(self, both: Merged, *, duplicate: bool) -> Entry:
        memory = both.memory
        if memory != self._memories[memory.id]:
            self._change(memory)
        return Entry(memory_id=memory.id, duplicate=duplicate, merged=both.fields)

    def _change(self, memory: Memory) -> None:
        present = self._memories[memory.id]
        for place, draft in enumerate(self.added):
            if draft.memory.id == memory.id:
                # It is not stored yet, so that this is its first version still.
                first = attrs.evolve(memory, version=present.version)
                self.added[place] = attrs.evolve(draft, memory=first)
                self._memories[memory.id] = first
                return
        former, _ = self.changed.get(memory.id, (present, present))
        memory = attrs.evolve(memory, version=former.version + 1)
        self.changed[memory.id] = former, memory
        self._memories[memory.id] = memory

    def _add(self, draft: Draft) -> Entry:
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


def _shared_and_changed(known: Known) -> Iterator[str]:
    """Yield the memories whose former texts new readers would see, if they have any."""
    for memory in (known.keyed, *known.alike):
        if memory is not None and memory.shared_with and memory.version > 1:
            yield memory.id
