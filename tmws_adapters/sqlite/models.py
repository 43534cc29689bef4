"""The embedding model whose vectors a store holds: the first that was used, until the store changes to another."""

import sqlite3
from collections.abc import Iterable

from tmws_adapters.sql.models import (
    COLUMNS,
    Numbered,
    check_model,
    dimensions_of,
    known_of,
    lacks,
    number_for,
    values_of,
)
from tmws_adapters.sqlite.errors import PART
from tmws_core.domain.embedding import Canary, EmbeddingModel, Vector


def active_model(connection: sqlite3.Connection) -> Numbered | None:
    """Return the active model with its number, or None."""
    return _found(connection, "active = 1")


def model_in_role(connection: sqlite3.Connection, role: str) -> Numbered | None:
    """Return the model of a role with its number, or None."""
    return _found(connection, "role = ?", role)


def canary_of(connection: sqlite3.Connection, model: EmbeddingModel) -> Canary | None:
    """Return the canary of a model, or None."""
    where = "name = ? AND dimension = ? AND digest = ? AND edition = ?"
    found = _found(connection, where, model.name, model.dimension, model.digest, model.edition)
    return None if found is None else found[1].canary


def use_model(connection: sqlite3.Connection, model: EmbeddingModel, canary: Canary | None) -> None:
    """Make a model the active one; ModelMismatch if there is another."""
    active = active_model(connection)
    if active is None:
        connection.execute("UPDATE embedding_models SET active = 1 WHERE id = ?", (insert_model(connection, model),))
        active = active_model(connection)
    else:
        check_model(active[1], model)
    if canary is not None and active is not None and lacks(active[1], canary):
        keep_canary(connection, active[0], canary)


def insert_model(connection: sqlite3.Connection, model: EmbeddingModel) -> int:
    """Add a model that is not active and return its number; its edition is the next of its name and digest."""
    identity = (model.name, model.dimension, model.digest)
    sql = """
        INSERT INTO embedding_models (name, dimension, digest, edition, active) SELECT ?1, ?2, ?3, 1 + count(*), 0
        FROM embedding_models WHERE name = ?1 AND dimension = ?2 AND digest = ?3 RETURNING id
    """
    ((number,),) = connection.execute(sql, identity).fetchall()
    return int(number)


def keep_canary(connection: sqlite3.Connection, number: int, canary: Canary) -> None:
    """Keep what a model is recognised by."""
    sql = "UPDATE embedding_models SET canary_text = ?, canary_vector = ?, unrelated = ?, related = ? WHERE id = ?"
    connection.execute(sql, (*values_of(canary), number))


def model_for(connection: sqlite3.Connection, vectors: Iterable[Vector]) -> int | None:
    """Return the number of the active model, which must be able to have made the vectors; None for no vectors."""
    dimensions = dimensions_of(vectors)
    return number_for(dimensions, active_model(connection), PART) if dimensions else None


def _found(connection: sqlite3.Connection, where: str, *values: str | int) -> Numbered | None:
    sql = f"SELECT {COLUMNS} FROM embedding_models WHERE {where}"  # noqa: S608 - texts are constants, values are bound
    return known_of(connection.execute(sql, values).fetchone())
