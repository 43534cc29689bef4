"""What a store is found to hold of drafts."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import attrs

from tmws_core.domain.memory import AccessLevel, Memory
from tmws_core.messages.drafting import Draft
from tmws_core.ports.storage import Known, MemoryReader


@attrs.frozen(kw_only=True)
class Found:
    """What is known of each draft, and of the memories in it those that have former texts.

    `former` are memories and texts of drafts that were theirs, where a key says no more than the memory it was used
    for.
    """

    known: Sequence[Known]
    rewritten: Collection[str]
    former: Collection[tuple[str, str]]

    @classmethod
    async def of(cls, reader: MemoryReader, drafts: Sequence[Draft], now: datetime) -> "Found":
        """Ask a store."""
        known = await reader.known([each.fingerprint(now) for each in drafts])
        shared = {memory_id for each in known for memory_id in _shared_and_changed(each)}
        unhashed = {
            (each.used.memory_id, draft.memory.content)
            for draft, each in zip(drafts, known, strict=True)
            if each.used is not None and each.used.request_hash is None
        }
        return cls(
            known=known,
            rewritten=await reader.rewritten(shared) if shared else set(),
            former={(memory_id, text) for memory_id, text in unhashed if await reader.rewritten([memory_id], text)},
        )

    @property
    def is_anything(self) -> bool:
        """Tell whether the store holds anything that a draft has to be compared with."""
        return any(each.used or each.alike for each in self.known)

    def beside(self, earlier: "Found") -> "Found":
        """Return the same, with the very memories that were found earlier where they are the same still."""
        met = {memory.id: memory for each in earlier.known for memory in _memories(each)}
        kept: dict[str, Memory] = {}
        same: dict[int, tuple[Memory, ...]] = {}

        def keep(memory: Memory) -> Memory:
            if memory.id not in kept:
                former = met.get(memory.id)
                kept[memory.id] = former if former is not None and former == memory else memory
            return kept[memory.id]

        for each in self.known:
            if id(each.alike) not in same:
                same[id(each.alike)] = tuple(map(keep, each.alike))
        known = [
            attrs.evolve(each, keyed=each.keyed and keep(each.keyed), alike=same[id(each.alike)]) for each in self.known
        ]
        return attrs.evolve(self, known=known)


def _memories(known: Known) -> Iterator[Memory]:
    if known.keyed is not None:
        yield known.keyed
    yield from known.alike


def _shared_and_changed(known: Known) -> Iterator[str]:
    """Yield the memories whose former texts new readers would see, if they have any."""
    for memory in _memories(known):
        if memory.access_level is AccessLevel.SHARED and memory.version > 1:
            yield memory.id
