"""Catching up: texts that were stored while the embedder was down get their vectors when it is back."""

from collections.abc import Collection

import anyio
import attrs

from tmws_core.domain.embedding import Vector
from tmws_core.embedding import StoreEmbedder, vectors_of
from tmws_core.errors import PartUnavailable
from tmws_core.ports.bus import Bus
from tmws_core.ports.storage import Storage

BATCH = 64
"""Texts embedded together; one batch takes about half a second with the bundled model."""

FIRST_ASIDE = 60.0
LONGEST_ASIDE = 3600.0
"""Seconds until a text that was refused is tried again; they double with each time. An embedder that is repaired
without a restart takes it within the hour."""

RETRY_SECONDS = 15.0
"""How long to wait before a second look, after a failure or when nothing waits."""


@attrs.define
class _Refusal:
    """How often a text was refused in a row, and when it may be tried again."""

    times: int
    until: float


@attrs.define(eq=False)
class SetAside:
    """The texts that the embedder refuses, by document: they wait longer each time, and hold up no others.

    10,000 of them take 2 MB.
    """

    _refusals: dict[int, _Refusal] = attrs.field(factory=dict, init=False)
    _epoch: int | None = attrs.field(default=None, init=False)

    def reached(self, epoch: int | None) -> None:
        """Forget the refusals if the embedder was lost and reached anew: what is there now may take the texts."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._refusals.clear()

    def __len__(self) -> int:
        """Return how many texts are set aside."""
        return len(self._refusals)

    def waiting(self) -> list[int]:
        """Return the documents whose time has not come."""
        now = anyio.current_time()
        return [document for document, refusal in self._refusals.items() if now < refusal.until]

    def note(self, tried: Collection[int], embedded: Collection[int], *, last: bool) -> None:
        """Remember which of the documents that were tried were refused.

        Those were the `last` ones that wait: what was to be tried again and is not among them is gone.
        """
        now = anyio.current_time()
        if last:
            gone = [document for document, refusal in self._refusals.items() if refusal.until <= now]
            for document in set(gone) - set(tried):
                del self._refusals[document]
        for document in tried:
            former = self._refusals.pop(document, _Refusal(0, now))
            if document not in embedded:
                pause = min(FIRST_ASIDE * 2**former.times, LONGEST_ASIDE)
                self._refusals[document] = _Refusal(min(former.times + 1, 30), now + pause)


@attrs.define(kw_only=True, eq=False)
class Indexing:
    """Embeds what waits for a vector, of each agent in turn; what is refused is set aside for a while.

    Then it finds out what cosines of the model mean, once for each model.
    """

    storage: Storage
    embedder: StoreEmbedder
    bus: Bus
    aside: SetAside = attrs.field(factory=SetAside)
    _served: str = attrs.field(default="", init=False)

    async def run(self) -> None:
        """Catch up now, whenever a text was stored without a vector, and every RETRY_SECONDS.

        After a failure any announcement is a reason to try again: it may come from an embedder that is back.
        """
        async with self.bus.subscribe() as events:
            while True:
                behind = not await self.catch_up()
                with anyio.move_on_after(RETRY_SECONDS):
                    async for event in events:
                        if event.unembedded or behind:
                            break

    async def embed_some(self) -> int:
        """Embed some texts and return how many got their vector; 0 when none waits that is not set aside.

        Raises:
            EmbedderUnavailable: the embedder is down, or the store has changed its model; nothing changed.
            ModelMismatch: the store's vectors were made by another model.
        """
        vectors: dict[int, Vector] = {}
        since = self.embedder.changes
        while not vectors:
            self.aside.reached(self.embedder.epoch)
            async with self.storage.read() as snapshot:
                waiting = await snapshot.memories.unembedded(BATCH, self.aside.waiting(), self._served)
            if waiting:
                self._served = waiting[-1].agent_id
                vectors = await vectors_of(self.embedder, waiting)
            self.aside.note([text.document for text in waiting], vectors, last=len(waiting) < BATCH)
            if not waiting:
                return 0
        async with self.storage.write() as unit:
            return await unit.changes.put_vectors(vectors) if await self.embedder.adopt(unit, since) else 0

    async def catch_up(self) -> bool:
        """Embed what waits, batch by batch, unless another process does so; False if something is out of reach."""
        try:
            some = True
            while some:
                async with self.storage.embedding() as alone:
                    some = alone and await self.embed_some() > 0
            await self.embedder.calibrate()
        except PartUnavailable:
            return False
        return True
