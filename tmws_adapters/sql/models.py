"""The embedding models of a store: their rows, and which vectors belong to the active one."""

from collections.abc import Iterable
from typing import Any

from tmws_core.domain.embedding import Calibration, Canary, EmbeddingModel, KnownModel, Vector
from tmws_core.errors import ModelMismatch

COLUMNS = "id, name, dimension, digest, edition, canary_text, canary_vector, unrelated, related"
"""The columns of `embedding_models`, as `known_of` has them."""

Numbered = tuple[int, KnownModel]
"""A model with the number that the store has given it."""


def known_of(row: tuple[Any, ...] | None) -> Numbered | None:
    """Return the model of a row, or None for no row."""
    if row is None:
        return None
    number, name, dimension, digest, edition, text, vector, unrelated, related = row
    model = EmbeddingModel(name=name, dimension=dimension, digest=digest, edition=edition)
    calibration = None if related is None else Calibration(unrelated=unrelated, related=related)
    canary = None if vector is None else Canary(text=text, vector=Vector(vector), calibration=calibration)
    return number, KnownModel(model=model, canary=canary)


def lacks(known: KnownModel, canary: Canary | None) -> bool:
    """Tell whether a canary says more than what is known of its model."""
    if canary is None or known.canary is None:
        return canary is not None
    return canary.calibration is not None and known.canary.calibration is None


def values_of(canary: Canary) -> tuple[str, bytes, float | None, float | None]:
    """Return the values of its columns, in order."""
    means = canary.calibration
    unrelated, related = (None, None) if means is None else (means.unrelated, means.related)
    return canary.text, canary.vector.data, unrelated, related


def check_model(active: KnownModel, model: EmbeddingModel) -> None:
    """Raise ModelMismatch unless the active model is this one; a digest that one of them does not tell may be any."""
    stored = active.model
    told = stored.digest and model.digest
    same = (stored.name, stored.dimension, stored.edition) == (model.name, model.dimension, model.edition)
    if not same or (told and stored.digest != model.digest):
        raise ModelMismatch(
            part="embedder",
            reason=f"the store holds vectors of {_described(stored)}, not of {_described(model)}",
            hint="Run `tmws embeddings migrate`, or set the embedder to the store's model again",
        )


def dimensions_of(vectors: Iterable[Vector]) -> set[int]:
    """Return how many values the vectors have."""
    return {vector.dimension for vector in vectors}


def number_for(dimensions: set[int], active: Numbered | None, part: str) -> int:
    """Return the number of the active model; ModelMismatch, of a part, if it cannot have made such vectors."""
    if active is None or dimensions != {active[1].model.dimension}:
        raise ModelMismatch(
            part=part,
            reason=f"vectors of {sorted(dimensions)} dimensions are not of the store's model",
            hint="Name the vectors' model with use_model in the same transaction",
        )
    return active[0]


def _described(model: EmbeddingModel) -> str:
    digest = f", {model.digest[:12]}" if model.digest else ""
    return f"{model.name} ({model.dimension} dimensions{digest})"
