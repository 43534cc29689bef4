"""The embedder: text in, vectors out."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from tmws_core.domain.embedding import EmbeddingModel, Vector


@attrs.frozen(kw_only=True)
class EmbedderHealth:
    """Whether the embedder can work now.

    `kind` is `onnx` or `ollama`; `digest` is that of the model's weights, where it is told without loading them;
    `reason` says why it is down, and the remedy.
    """

    kind: str
    model: str
    up: bool
    digest: str = ""
    reason: str = ""


class Embedder(Protocol):
    """Makes vectors of norm 1. Every method may raise EmbedderUnavailable or ModelNotFound."""

    @property
    def epoch(self) -> int | None:
        """A number that changes when another model may have come to answer, after a connection that was lost.

        None where the model is in this process, and stays what it is.
        """
        ...

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
        """Return the identity of the model, as it is now; the first call may load it."""
        ...

    async def health(self) -> EmbedderHealth:
        """Tell whether the embedder can work now; does not raise and does not load a model."""
        ...
