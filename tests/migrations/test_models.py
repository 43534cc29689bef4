"""The revision that makes room for a second model, over stores that hold something."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.contracts.builders import MODEL, memory, new, vector
from tests.contracts.steps import store
from tests.migrations.test_sqlite import alembic, columns, schema
from tmws_adapters.migrations.runner import upgrade
from tmws_adapters.sqlite import open_sqlite

pytestmark = pytest.mark.anyio

EAST = vector(1, 0, 0, 0)
COLUMNS = {"edition", "role", "canary_text", "canary_vector"}
NAMES = {"embeddings_next", "embeddings_former", "embedding_models_role"}


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def test_a_store_of_one_model_keeps_it_and_its_vectors(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    assert alembic(path, "upgrade", "0002").returncode == 0
    with opened(path) as connection:
        connection.execute("INSERT INTO embedding_models VALUES (1, 'tests/four', 4, 'd1', 1)")
        connection.execute("INSERT INTO embeddings VALUES (7, 1, ?)", (EAST.data,))

    upgrade(path)

    with opened(path) as connection:
        models = connection.execute("SELECT id, name, dimension, digest, active, edition, role FROM embedding_models")
        assert models.fetchall() == [(1, "tests/four", 4, "d1", 1, 1, None)]
        assert connection.execute("SELECT * FROM embeddings").fetchall() == [(7, 1, EAST.data)]


async def test_the_third_revision_can_be_taken_back_and_the_active_vectors_stay(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    async with open_sqlite(path) as opened_store:
        await store(opened_store.storage, new(memory(), vector=EAST))
    assert alembic(path, "downgrade", "0003").returncode == 0
    newest, newest_columns = schema(path), columns(path, "embedding_models")

    assert alembic(path, "downgrade", "0002").returncode == 0
    former, former_columns = schema(path), columns(path, "embedding_models")
    with opened(path) as connection:
        assert connection.execute("SELECT model, vector FROM embeddings").fetchall() == [(1, EAST.data)]
    assert alembic(path, "upgrade", "0003").returncode == 0

    assert newest - former == NAMES
    assert newest_columns - former_columns == COLUMNS
    assert (schema(path), columns(path, "embedding_models")) == (newest, newest_columns)
    async with open_sqlite(path) as opened_store:
        assert await opened_store.storage.model() == MODEL
        assert await opened_store.storage.vectors([1]) == {1: EAST}
