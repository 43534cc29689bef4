"""The embedder: text in, vectors out."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from tmws_core.domain.embedding import EmbeddingModel, Vector


@attrs.frozen(kw_only=True)
class EmbedderHealth:
    """Whether the embedder can work now. `kind` is `onnx` or `ollama`; `reason` says why it is down, and the remedy."""

    kind: str
    model: str
    up: bool
    reason: str = ""


class Embedder(Protocol):
    """Makes vectors of norm 1. Every method may raise EmbedderUnavailable or ModelNotFound."""

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts that are to be found, in order; texts longer than the model's window are cut off."""
        ...

    async def query(self, text: str) -> Vector:
        """Embed a question."""
        ...

    async def familiarity(self, text: str) -> float:
        """Tell how much of a text the model can read, from 0 (another script) to 1; 1 where it cannot be told."""
        ...

    async def model(self) -> EmbeddingModel:
        """Return the identity of the model; the first call may load it."""
        ...

    async def health(self) -> EmbedderHealth:
        """Tell whether the embedder can work now; does not raise and does not load a model."""
        ...
