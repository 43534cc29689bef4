"""The embedder as one store may use it: only the model that made the store's vectors."""

from collections.abc import Sequence

import anyio
import attrs

from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.errors import ModelMismatch
from tmws_core.ports.embedder import Embedder, EmbedderHealth
from tmws_core.ports.storage import Storage


@attrs.define
class StoreEmbedder:
    """An embedder that refuses to work, with ModelMismatch, where the store's vectors come from another model."""

    inner: Embedder
    storage: Storage
    _lock: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _model: EmbeddingModel | None = attrs.field(default=None, init=False)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts that are to be found."""
        await self.model()
        return await self.inner.passages(texts)

    async def query(self, text: str) -> Vector:
        """Embed a question."""
        await self.model()
        return await self.inner.query(text)

    async def familiarity(self, text: str) -> float:
        """Tell how much of a text the model can read."""
        return await self.inner.familiarity(text)

    async def model(self) -> EmbeddingModel:
        """Return the model, compared with the store's on the first call."""
        async with self._lock:
            if self._model is None:
                model = await self.inner.model()
                stored = await self.storage.model()
                if stored is not None and not same_model(stored, model):
                    raise mismatch(stored, model.name)
                self._model = model
        return self._model

    async def health(self) -> EmbedderHealth:
        """Tell whether the embedder can work now."""
        return await self.inner.health()


def same_model(stored: EmbeddingModel, model: EmbeddingModel) -> bool:
    """Tell whether vectors of the two may be compared; digests count only where both are known."""
    return (
        stored.name == model.name
        and stored.dimension == model.dimension
        and (not stored.digest or not model.digest or stored.digest == model.digest)
    )


def mismatch(stored: EmbeddingModel, name: str) -> ModelMismatch:
    """Return the error for a store whose vectors were made by another model than `name`."""
    return ModelMismatch(
        part="embedder",
        reason=f"the vectors of this store were made by {stored.name} ({stored.dimension} values), not by {name}",
        hint=f"Set TMWS_EMBEDDER and its model to {stored.name}, or use another TMWS_HOME",
    )
