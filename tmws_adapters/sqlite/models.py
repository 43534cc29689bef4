"""The embedding model whose vectors a store holds: the first that was used, and never two."""

import sqlite3
from collections.abc import Iterable

from tmws_adapters.sqlite.errors import PART
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.errors import ModelMismatch


def active_model(connection: sqlite3.Connection) -> tuple[int, EmbeddingModel] | None:
    """Return the active model with its number, or None."""
    row = connection.execute("SELECT id, name, dimension, digest FROM embedding_models WHERE active = 1").fetchone()
    return None if row is None else (row[0], EmbeddingModel(name=row[1], dimension=row[2], digest=row[3]))


def use_model(connection: sqlite3.Connection, model: EmbeddingModel) -> None:
    """Make a model the active one; ModelMismatch if there is another."""
    active = active_model(connection)
    if active is None:
        connection.execute(
            "INSERT INTO embedding_models (name, dimension, digest, active) VALUES (?, ?, ?, 1)",
            (model.name, model.dimension, model.digest),
        )
    elif not _same(active[1], model):
        raise ModelMismatch(
            part="embedder",
            reason=f"the store holds vectors of {_described(active[1])}, not of {_described(model)}",
            hint=f"Set the embedder to {active[1].name} again, or start a new store in another TMWS_HOME",
        )


def model_for(connection: sqlite3.Connection, vectors: Iterable[Vector]) -> int | None:
    """Return the number of the active model, which must be able to have made the vectors; None for no vectors."""
    dimensions = {vector.dimension for vector in vectors}
    if not dimensions:
        return None
    active = active_model(connection)
    if active is None or dimensions != {active[1].dimension}:
        raise ModelMismatch(
            part=PART,
            reason=f"vectors of {sorted(dimensions)} dimensions are not of the store's model",
            hint="Name the vectors' model with use_model in the same transaction",
        )
    return active[0]


def _same(stored: EmbeddingModel, other: EmbeddingModel) -> bool:
    told = stored.digest and other.digest
    return (stored.name, stored.dimension) == (other.name, other.dimension) and (
        not told or stored.digest == other.digest
    )


def _described(model: EmbeddingModel) -> str:
    digest = f", {model.digest[:12]}" if model.digest else ""
    return f"{model.name} ({model.dimension} dimensions{digest})"
