"""The embedding model whose vectors a store holds: the first that was used, until the store changes to another."""

from collections.abc import Iterable

from tmws_adapters.postgres.errors import PART
from tmws_adapters.postgres.locks import FIRST, lock_models, share_models
from tmws_adapters.postgres.session import Row, Session
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
from tmws_core.domain.embedding import Canary, EmbeddingModel, Vector

INDEX = "memories_embedding_v2_idx"
"""The index of the active model's vectors; those of other models have its number at the end."""

INDEXED_DIMENSIONS = 4000
"""The most values that an index of half precision takes; vectors of more are compared one by one."""

ACTIVE_MODEL = f"SELECT {COLUMNS} FROM embedding_models WHERE active"  # noqa: S608 - names are constants
"""Asks for the row that `number_of` reads."""


async def active_model(session: Session) -> Numbered | None:
    """Return the active model with its number, or None."""
    return await _found(session, "active")


async def model_in_role(session: Session, role: str) -> Numbered | None:
    """Return the model of a role with its number, or None."""
    return await _found(session, "role = %s", role)


async def canary_of(session: Session, model: EmbeddingModel) -> Canary | None:
    """Return the canary of a model, or None."""
    where = "name = %s AND dimension = %s AND digest = %s AND edition = %s"
    found = await _found(session, where, model.name, model.dimension, model.digest, model.edition)
    return None if found is None else found[1].canary


async def use_model(session: Session, model: EmbeddingModel, canary: Canary | None) -> None:
    """Make a model the active one; ModelMismatch if there is another. Nobody changes it until the unit ends."""
    share_models(session)
    active = await active_model(session)
    if active is None:
        # Of several units that find none, the first names it.
        lock_models(session, FIRST)
        active = await active_model(session)
    if active is None:
        number = await insert_model(session, model)
        await session.run("UPDATE embedding_models SET active = true WHERE id = %s", (number,))
        await create_index(session, number, model.dimension, INDEX)
        active = await active_model(session)
    else:
        check_model(active[1], model)
    if canary is not None and active is not None and lacks(active[1], canary):
        await keep_canary(session, active[0], canary)


async def insert_model(session: Session, model: EmbeddingModel) -> int:
    """Add a model that is not active and return its number; its edition is the next of its name and digest."""
    sql = """
        INSERT INTO embedding_models (name, dimension, digest, edition, active)
        SELECT %(name)s, %(dimension)s, %(digest)s, 1 + count(*), false FROM embedding_models
        WHERE name = %(name)s AND dimension = %(dimension)s AND digest = %(digest)s RETURNING id
    """
    values = {"name": model.name, "dimension": model.dimension, "digest": model.digest}
    ((number,),) = await session.rows(sql, values)
    return int(number)


async def create_index(session: Session, number: int, dimension: int, name: str) -> None:
    """Index the vectors of a model, as long as it has none: with many of them this takes minutes.

    Half precision halves the index; the vectors themselves are compared afterwards. Their norm is 1, so that the inner
    product is the cosine.
    """
    if dimension <= INDEXED_DIMENSIONS:
        await session.run(
            f"CREATE INDEX {name} ON embeddings USING hnsw ((vector::halfvec({dimension:d})) halfvec_ip_ops)"
            f" WHERE model = {number:d}"
        )


async def keep_canary(session: Session, number: int, canary: Canary) -> None:
    """Keep what a model is recognised by."""
    sql = """
        UPDATE embedding_models SET canary_text = %s, canary_vector = %s, unrelated = %s, related = %s WHERE id = %s
    """
    await session.run(sql, (*values_of(canary), number))


async def model_for(session: Session, vectors: Iterable[Vector]) -> int | None:
    """Return the number of the active model, which must be able to have made the vectors; None for no vectors."""
    return number_of(await session.rows(ACTIVE_MODEL), vectors)


def number_of(rows: list[Row], vectors: Iterable[Vector]) -> int | None:
    """Return the same, from the answer to ACTIVE_MODEL."""
    dimensions = dimensions_of(vectors)
    return number_for(dimensions, known_of(rows[0] if rows else None), PART) if dimensions else None


async def _found(session: Session, where: str, *values: str | int) -> Numbered | None:
    sql = f"SELECT {COLUMNS} FROM embedding_models WHERE {where}"  # noqa: S608 - texts are constants, values are bound
    return known_of(await session.row(sql, values))
