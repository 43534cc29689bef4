"""What is made of texts before they are written: in the unit that writes them everybody else would wait for it."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial

import anyio
import attrs

from tmws_core.aside import each_aside
from tmws_core.domain.agent import Caller
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import Memory
from tmws_core.domain.text import Lexical, lexical_document, passage
from tmws_core.embedding import StoreEmbedder, embed_in_turns
from tmws_core.errors import EmbedderUnavailable
from tmws_core.ports.storage import Storage, UnitOfWork
from tmws_core.ports.system import Clock


@attrs.frozen(kw_only=True)
class Prepared:
    """What was made of memories: vectors of passages by id, in `milliseconds` all together, and words by text.

    The model had been found to be another one `since` times when that began.
    """

    since: int
    passages: Mapping[str, str] = attrs.field(factory=dict)
    vectors: Mapping[str, Vector] = attrs.field(factory=dict)
    milliseconds: float = 0.0
    words: Mapping[str, Lexical] = attrs.field(factory=dict)

    def fits(self, memory: Memory) -> bool:
        """Tell whether the words of a memory are there."""
        return memory.content in self.words

    def vectors_of(self, memories: Iterable[Memory]) -> Mapping[str, Vector]:
        """Return the vectors of memories that are embedded by what they were made of, by id."""
        return {
            memory.id: self.vectors[memory.id]
            for memory in memories
            if memory.id in self.vectors and self.passages[memory.id] == _passage(memory)
        }


@attrs.frozen
class Preparing:
    """Makes vectors and words of texts; a text that the embedder has no answer for within `embed_timeout` has none."""

    storage: Storage
    embedder: StoreEmbedder
    clock: Clock
    embed_timeout: timedelta

    async def prepared(self, caller: Caller, memories: Iterable[Memory] = ()) -> Prepared:
        """Prepare memories that will probably be written."""
        since = self.embedder.changes
        passages = {memory.id: _passage(memory) for memory in memories}
        vectors, milliseconds = await self._embed(caller, passages) if passages else ({}, 0.0)
        prepared = Prepared(since=since, passages=passages, vectors=vectors, milliseconds=milliseconds)
        return await self.with_words(prepared, [memory.content for memory in memories])

    async def with_words(self, prepared: Prepared, contents: Iterable[str]) -> Prepared:
        """Add the words of further texts."""
        contents = [content for content in dict.fromkeys(contents) if content not in prepared.words]
        texts = await each_aside(lexical_document, contents, patient=True)
        words = map(Lexical, texts, await self.storage.count_words(texts))
        return attrs.evolve(prepared, words={**prepared.words, **dict(zip(contents, words, strict=True))})

    async def usable(self, unit: UnitOfWork, prepared: Prepared, memories: Iterable[Memory]) -> Mapping[str, Vector]:
        """Return the vectors of memories, or none if the store has changed to another model since they were made."""
        vectors = prepared.vectors_of(memories)
        return vectors if vectors and await self.embedder.adopt(unit, prepared.since) else {}

    async def _embed(self, caller: Caller, passages: Mapping[str, str]) -> tuple[Mapping[str, Vector], float]:
        """Return the vectors by memory and the milliseconds they took; none of what is refused, or has no time."""
        started = self.clock.monotonic()
        vectors: dict[str, Vector] = {}
        try:
            with anyio.fail_after(self.embed_timeout.total_seconds()):
                turn = partial(self.embedder.storing.of, caller.agent_id)
                if len(passages) > 1:
                    await embed_in_turns(self.embedder, turn, passages, vectors)
                else:  # whether the text or the embedder is at fault makes no difference
                    async with turn():
                        vectors.update(zip(passages, await self.embedder.passages([*passages.values()]), strict=True))
        except (EmbedderUnavailable, TimeoutError):
            pass
        return vectors, (self.clock.monotonic() - started) * 1000


def _passage(memory: Memory) -> str:
    return passage(*memory.embedded_by)
