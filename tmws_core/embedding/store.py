"""The embedder as one store may use it: only the model that made the store's vectors."""

from collections.abc import Sequence
from contextlib import suppress

import attrs

from tmws_core.domain.embedding import EmbeddingModel, KnownModel, Vector
from tmws_core.embedding.identity import Identity, fits, identify
from tmws_core.errors import ModelMismatch, ModelReplaced, PartUnavailable, StorageUnavailable
from tmws_core.ports.embedder import Embedder, EmbedderHealth
from tmws_core.ports.storage import Storage, UnitOfWork


@attrs.define
class StoreEmbedder:
    """An embedder that works only while it is the model of the store's vectors.

    The first call compares it with the store's model, by what it makes of the canary; every search and every
    transaction that stores vectors finds out whether the store still has that model. ModelMismatch where the store's
    vectors come from another model; ModelReplaced, which is an EmbedderUnavailable, where that has come about since
    this process was started.
    """

    inner: Embedder
    storage: Storage
    _identity: Identity | None = attrs.field(default=None, init=False)
    _fitting: EmbeddingModel | None = attrs.field(default=None, init=False)
    _expected: EmbeddingModel | None = attrs.field(default=None, init=False)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts that are to be found; `adopt` tells whether their vectors may be stored."""
        if self._fitting is None:
            await self.model()
        return await self.inner.passages(texts)

    async def query(self, text: str, stored: EmbeddingModel | None = None) -> Vector:
        """Embed a question; who knows the model of the store spares the look at it."""
        await (self.accept(stored) if stored else self.model())
        return await self.inner.query(text)

    async def familiarity(self, text: str) -> float:
        """Tell how much of a text the model can read."""
        return await self.inner.familiarity(text)

    async def model(self) -> EmbeddingModel:
        """Return the model, after a look at the store's."""
        return await self.accept(await self.storage.model())

    async def accept(self, stored: EmbeddingModel | None) -> EmbeddingModel:
        """Return the model, if it may work for a store that has the model `stored`, or none yet."""
        identity = await self._identified()
        if stored is None:
            return identity.model
        if stored != self._fitting:
            await self._compare(identity, stored)
        return stored

    async def vectors(self, documents: Sequence[int]) -> dict[int, Vector]:
        """Return the store's vectors of those documents; as any call raises, unless this model made them."""
        vectors = {} if self._fitting is None else await self.storage.vectors(documents, self._fitting)
        if not vectors:
            await self.model()
        return vectors

    def fitting(self) -> EmbeddingModel | None:
        """Return the model of the store that this one was last found to be."""
        return self._fitting

    async def adopt(self, unit: UnitOfWork) -> bool:
        """Make this the store's model, in the transaction that is to add its vectors.

        False if the store has another one by now: the vectors must not be added.
        """
        identity = await self._identified()
        model = self._fitting or identity.model
        try:
            await unit.use_model(model, identity.canary)
        except ModelMismatch:
            self._fitting = None
            return False
        self._expected = self._expected or model
        return True

    async def expect(self, name: str) -> None:
        """Note the model that the store has at the start; ModelMismatch if that of the embedder has another name."""
        stored = await self.storage.model()
        if stored is not None and stored.name != name:
            raise _mismatch(stored, name)
        self._expected = stored

    async def health(self) -> EmbedderHealth:
        """Tell whether the embedder can work now, and may."""
        health = await self.inner.health()
        if health.up:
            try:
                await self._look(health.model)
            except StorageUnavailable:
                pass
            except PartUnavailable as error:
                return attrs.evolve(health, up=False, reason=error.message)
        return health

    async def _look(self, name: str) -> None:
        stored = await self.storage.model()
        if self._identity is not None:
            await self.model()
        elif stored is not None and stored.name != name:
            raise self._refusal(stored, name)

    async def _identified(self) -> Identity:
        # Without a lock: behind a caller whose patience is longer, nobody would find out that the embedder hangs.
        if self._identity is None:
            self._identity = await identify(self.inner)
        return self._identity

    async def _compare(self, identity: Identity, stored: EmbeddingModel) -> None:
        canary = await self.storage.canary(stored)
        if not await fits(self.inner, identity, KnownModel(model=stored, canary=canary)):
            self._fitting = None
            raise self._refusal(stored, identity.model.name)
        self._fitting = self._expected = stored
        if canary is None:
            with suppress(StorageUnavailable, ModelMismatch):
                async with self.storage.write() as unit:
                    await unit.use_model(stored, identity.canary)

    def _refusal(self, stored: EmbeddingModel, name: str) -> PartUnavailable:
        if self._expected is not None and stored != self._expected:
            return ModelReplaced(
                part="embedder",
                reason=f"the store has changed to vectors of {_described(stored)} since this process was started",
                hint=f"Restart TMWS with the embedder set to {stored.name}",
            )
        return _mismatch(stored, name)


def _mismatch(stored: EmbeddingModel, name: str) -> ModelMismatch:
    if stored.name != name:
        return ModelMismatch(
            part="embedder",
            reason=f"the vectors of this store were made by {_described(stored)}, not by {name}",
            hint=f"Run `tmws embeddings migrate` to change to it, or set the embedder to {stored.name} again",
        )
    return ModelMismatch(
        part="embedder",
        reason=f"the vectors of this store were made by {_described(stored)} with other weights than it has now",
        hint="Run `tmws embeddings migrate` to change to them, or bring the former weights back",
    )


def _described(model: EmbeddingModel) -> str:
    return f"{model.name} ({model.dimension} values)"
