"""Why an embedder may not work for a store, and what to do about it."""

from tmws_core.domain.embedding import EmbeddingModel
from tmws_core.errors import EmbedderUnavailable, ModelMismatch, ModelReplaced

_PART = "embedder"


class Unproved(EmbedderUnavailable):
    """The embedder was to prove its model before a call, and failed: no text of the call is at fault."""


def store_changed(stored: EmbeddingModel) -> ModelReplaced:
    """Return the error for a store that has gone over to the model `stored`."""
    return ModelReplaced(
        part=_PART,
        reason=f"the store has changed to vectors of {_described(stored)} since this process was started",
        hint=f"Restart TMWS with the embedder set to {stored.name}",
    )


def weights_changed(stored: EmbeddingModel) -> ModelReplaced:
    """Return the error for an embedder that was the model `stored`, and is another one by now."""
    return ModelReplaced(
        part=_PART,
        reason=f"the weights of {_described(stored)} have changed since this process was started",
        hint="Bring the former weights back, or run `tmws embeddings migrate` to change to the new ones",
    )


def model_mismatch(stored: EmbeddingModel, name: str) -> ModelMismatch:
    """Return the error for an embedder, of that name, that never was the model `stored`."""
    if stored.name != name:
        return ModelMismatch(
            part=_PART,
            reason=f"the vectors of this store were made by {_described(stored)}, not by {name}",
            hint=f"Run `tmws embeddings migrate` to change to it, or set the embedder to {stored.name} again",
        )
    return ModelMismatch(
        part=_PART,
        reason=f"the vectors of this store were made by {_described(stored)} with other weights than it has now",
        hint="Run `tmws embeddings migrate` to change to them, or bring the former weights back",
    )


def _described(model: EmbeddingModel) -> str:
    return f"{model.name} ({model.dimension} values)"
