"""Catching up: texts that were stored while the embedder was down get their vectors when it is back."""

import anyio
import attrs

from tmws_core.embedding import StoreEmbedder, vectors_of
from tmws_core.errors import PartUnavailable
from tmws_core.ports.bus import Bus
from tmws_core.ports.storage import Storage

BATCH = 64
"""Texts embedded together; one batch takes about half a second with the bundled model."""

RETRY_SECONDS = 15.0
"""How long to wait before a second look, after a failure or when nothing waits."""


@attrs.frozen(kw_only=True)
class Indexing:
    """Embeds what waits for a vector, the most important first."""

    storage: Storage
    embedder: StoreEmbedder
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
            EmbedderUnavailable: the embedder is down, or the store has changed its model; nothing changed.
            ModelMismatch: the store's vectors were made by another model.
        """
        async with self.storage.read() as snapshot:
            waiting = await snapshot.memories.unembedded(BATCH)
        if not waiting:
            return 0
        vectors = await vectors_of(self.embedder, waiting)
        async with self.storage.write() as unit:
            return await unit.changes.put_vectors(vectors) if await self.embedder.adopt(unit) else 0

    async def _catch_up(self) -> bool:
        try:
            while await self.embed_some():
                pass
        except PartUnavailable:
            return False
        return True
