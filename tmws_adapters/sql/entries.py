"""Holds the entries of a lexical index against the texts of the memories that they were made of."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from tmws_core.aside import each_aside
from tmws_core.domain.memory import Memory
from tmws_core.domain.text import lexical_document
from tmws_core.ports.health import Flaw, Read

BATCH = 100
"""Memories that are read together, in a snapshot of their own: at most 6.4 MB of texts, mostly 100 KB."""

STRIDE = 100 * BATCH
"""Memories between two lines about the progress: a few seconds."""

Own = TypeVar("Own")
Given_contra = TypeVar("Given_contra", contravariant=True)


class Held(Protocol[Given_contra]):
    """What the index holds of a document."""

    def is_of(self, memory: Memory, own: Given_contra, /) -> bool:
        """Tell whether it is what belongs to a memory, `own` being what its text comes to."""
        ...


Batch = tuple[Sequence[Memory], Mapping[int, Held[Own]]]
"""Memories in the order of their documents, and what the index holds of these."""


async def wrong_entries(
    batch: Callable[[int], Awaitable[Batch[Own]]], derive: Callable[[str], Own], read: Read
) -> AsyncIterator[tuple[Memory, Own, bool]]:
    """Yield the memories without the right entry: with what their texts come to, and whether they have any entry.

    `batch` returns those behind a document, and `derive` makes of a lexical text what the entry is made of. Those that
    versions before have indexed in their way are right.
    """
    last = done = 0
    while True:
        memories, held = await batch(last)
        if not memories:
            return
        own = await _derived(derive, memories, plain=True)
        differing = [each for each in memories if not _is_right(held.get(each.document), each, own)]
        former = await _derived(derive, differing, plain=False)
        for memory in differing:
            entry = held.get(memory.document)
            if not _is_right(entry, memory, former):
                yield memory, own[memory.document], entry is not None
        last, done = memories[-1].document, done + len(memories)
        read(done)


def progress_of(tell: Callable[[str], None]) -> Read:
    """Return what tells of each STRIDE memories that have been read."""

    def read(done: int) -> None:
        if done % STRIDE == 0:
            tell(f"{done} memories read")

    return read


def flaws_of(ids: Sequence[str]) -> list[Flaw]:
    """Return what is wrong where the entries of these memories are not those of their texts."""
    if not ids:
        return []
    return [Flaw(f"{len(ids)} memories whose words are not those of their texts, {ids[0]} the first", derived=True)]


def _is_right(held: Held[Own] | None, memory: Memory, own: Mapping[int, Own]) -> bool:
    return held is not None and held.is_of(memory, own[memory.document])


async def _derived(derive: Callable[[str], Own], memories: Sequence[Memory], *, plain: bool) -> dict[int, Own]:
    contents = [memory.content for memory in memories]
    made = await each_aside(partial(_made, derive, plain=plain), contents, patient=True)
    return dict(zip([memory.document for memory in memories], made, strict=True))


def _made(derive: Callable[[str], Own], content: str, *, plain: bool) -> Own:
    return derive(lexical_document(content, plain=plain))
