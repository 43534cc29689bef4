"""Changing a store to another embedding model, while everybody goes on working with the present one."""

from collections.abc import Callable

import anyio
import attrs

from tmws_core.domain.embedding import EmbeddingModel, KnownModel
from tmws_core.embedding import Identity, fits, identify, vectors_of
from tmws_core.errors import ModelMismatch
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.models import Migration, Models, ModelStanding, Role

BATCH = 64
"""Texts embedded together; one batch takes about half a second with the bundled model."""

SPARE = BATCH
"""Texts that may wait for their vectors at the switch: those that are written between the last batch and the switch.
Twice as many with each switch that is refused for more: writers that are faster than the embedder do not hold it up."""

AGAIN = 0.2
"""Seconds before texts are looked for anew that came behind the place where the migration was."""

FORGOTTEN = 2000
"""Vectors deleted in one transaction, for which others wait to write: 27 ms at most with 384 values."""

Report = Callable[[int, int], None]
"""Takes how many memories have a vector of the next model, and how many memories there are."""


@attrs.frozen(kw_only=True)
class Migrated:
    """What a migration did.

    `embedded` are the texts that it embedded itself, `refused` those that the model cannot take. Not `switched` if the
    store had this model already, or has no vectors.
    """

    switched: bool
    model: EmbeddingModel
    former: EmbeddingModel | None = None
    embedded: int = 0
    refused: int = 0


@attrs.frozen(kw_only=True)
class Migrating:
    """Re-embeds a store with the model of `embedder`, which is the target and not yet the store's."""

    models: Models
    embedder: Embedder

    async def standing(self) -> ModelStanding:
        """Tell which models the store holds vectors of."""
        return await self.models.standing()

    async def migrate(self, report: Report, rate: float | None = None) -> Migrated:
        """Embed every memory with the target, at most `rate` texts a second, then switch.

        Vectors of an interrupted migration to the same model are kept, those to another are deleted. Of two former
        models the older one's vectors are deleted before the switch.

        Raises:
            EmbedderUnavailable: the embedder is down; what was done is kept.
            ModelMismatch: the weights of the model have changed meanwhile.
            MigrationRunning: another process is at it.
        """
        identity = await identify(self.embedder)
        async with self.models.migration() as migration:
            standing = await self.models.standing()
            active = standing.active
            if active is None or await fits(self.embedder, identity, active):
                await _forget(migration, "next")
                return Migrated(switched=False, model=active.model if active else identity.model)
            if standing.next is None or not await fits(self.embedder, identity, standing.next):
                await _forget(migration, "next")
                await migration.begin(identity.model, identity.canary)
                standing = await self.models.standing()
            embedded, refused = await self._fill(
                migration, identity, lambda done: report(standing.prepared + done, standing.memories), rate
            )
        return Migrated(switched=True, model=identity.model, former=active.model, embedded=embedded, refused=refused)

    async def roll_back(self) -> ModelStanding:
        """Go back to the former model at once; memories that were written since wait for their vectors.

        Raises:
            NoFormerModel: the store keeps no vectors of one.
            MigrationRunning: another process is changing the model.
        """
        async with self.models.migration() as migration:
            await migration.roll_back()
        return await self.models.standing()

    async def forget(self) -> int:
        """Delete the vectors of the former model, and return how many; MigrationRunning as above."""
        async with self.models.migration() as migration:
            return await _forget(migration, "former")

    async def _fill(
        self, migration: Migration, identity: Identity, report: Callable[[int], None], rate: float | None
    ) -> tuple[int, int]:
        """Prepare vectors until hardly any is missing, and switch; return how many were made and refused.

        Numbers are given before they are committed: texts come behind the place where this is as well, and are found
        when it begins again.
        """
        batch = BATCH if rate is None else max(1, min(BATCH, int(rate)))
        after = embedded = 0
        refused: set[int] = set()
        spare = SPARE
        while True:
            earliest = anyio.current_time() + (batch / rate if rate else 0)
            texts = await migration.missing(after, batch)
            vectors = await vectors_of(self.embedder, [text for text in texts if text.document not in refused])
            embedded += await migration.prepare(vectors)
            refused.update(text.document for text in texts if text.document not in vectors)
            if texts:
                after = texts[-1].document
                report(embedded)
            if len(texts) < batch:
                await self._prove(identity)
                await _forget(migration, "former")
                if await migration.switch(len(refused) + spare):
                    return embedded, len(refused)
                after, spare = 0, 2 * spare
                earliest = max(earliest, anyio.current_time() + AGAIN)
            await anyio.sleep_until(earliest)

    async def _prove(self, identity: Identity) -> None:
        """Make sure that the model is still the one that the first vectors were made by."""
        again = await identify(self.embedder)
        if not await fits(self.embedder, identity, KnownModel(model=again.model, canary=again.canary)):
            raise ModelMismatch(
                part="embedder",
                reason=f"the weights of {identity.model.name} have changed during the migration",
                hint="Run `tmws embeddings migrate` again: it begins anew",
            )


async def _forget(migration: Migration, role: Role) -> int:
    deleted = 0
    while (count := await migration.forget(role, FORGOTTEN)) == FORGOTTEN:
        deleted += count
    return deleted + count
