"""Catching up: texts that were stored while the embedder was down get their vectors when it is back."""

from collections.abc import Sequence
from contextlib import suppress

import anyio
import attrs

from tmws_core.domain.embedding import Vector
from tmws_core.domain.text import passage
from tmws_core.errors import EmbedderUnavailable, StorageUnavailable
from tmws_core.ports.bus import Bus
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.storage import Storage, Unembedded

BATCH = 64
"""Texts embedded together; one batch takes about half a second with the bundled model."""

RETRY_SECONDS = 15.0
"""How long to wait before a second look, after a failure or when nothing waits."""


@attrs.frozen(kw_only=True)
class Indexing:
    """Embeds what waits for a vector, the most important first."""

    storage: Storage
    embedder: Embedder
    bus: Bus

    async def run(self) -> None:
        """Catch up now, whenever a text was stored without a vector, and every RETRY_SECONDS.

        After a failure any announcement is a reason to try again: it may come from an embedder that is back.
        """
        async with self.bus.subscribe() as events:
            while True:
                behind = not await self._catch_up()
                with anyio.move_on_after(RETRY_SECONDS):
                    async for event in events:
                        if event.unembedded or behind:
                            break

    async def embed_some(self) -> int:
        """Embed one batch and return how many texts got their vector; 0 when none waits.

        Raises:
            EmbedderUnavailable: the embedder is down; nothing changed.
        """
        async with self.storage.read() as snapshot:
            waiting = await snapshot.memories.unembedded(BATCH)
        if not waiting:
            return 0
        vectors = await self._embed(waiting)
        async with self.storage.write() as unit:
            await unit.use_model(await self.embedder.model())
            return await unit.changes.put_vectors(vectors)

    async def _embed(self, waiting: Sequence[Unembedded]) -> dict[int, Vector]:
        """Return the vectors by document.

        Texts that fail together are tried one by one, so that a text which the model cannot take holds up no other.
        """
        passages = [passage(text.content, text.occurred_at) for text in waiting]
        try:
            vectors = await self.embedder.passages(passages)
        except EmbedderUnavailable:
            if not (await self.embedder.health()).up:
                raise
            return await self._embed_singly(waiting, passages)
        return {text.document: vector for text, vector in zip(waiting, vectors, strict=True)}

    async def _embed_singly(self, waiting: Sequence[Unembedded], passages: Sequence[str]) -> dict[int, Vector]:
        vectors = {}
        for text, content in zip(waiting, passages, strict=True):
            with suppress(EmbedderUnavailable):
                vectors[text.document] = (await self.embedder.passages([content]))[0]
        return vectors

    async def _catch_up(self) -> bool:
        try:
            while await self.embed_some():
                pass
        except (EmbedderUnavailable, StorageUnavailable):
            return False
        return True
