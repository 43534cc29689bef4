"""The change from one embedding model to another: vectors are made ready beside the active ones, and tables renamed."""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import attrs

from tmws_adapters.cancellation import in_thread
from tmws_adapters.private import open_regular
from tmws_adapters.sqlite.connections import Connections
from tmws_adapters.sqlite.errors import PART, file_error
from tmws_adapters.sqlite.models import active_model, insert_model, keep_canary, model_in_role
from tmws_adapters.sqlite.times import optional_moment
from tmws_core.domain.embedding import Canary, EmbeddingModel, Vector
from tmws_core.errors import MigrationRunning, NoFormerModel, StorageUnavailable
from tmws_core.ports.models import Migration, ModelStanding, Role
from tmws_core.ports.storage import Unembedded

T = TypeVar("T")

LOCK_SUFFIX = "-migrating"
"""What the name of the lock file adds to that of the database."""

_TABLES: dict[Role, str] = {"next": "embeddings_next", "former": "embeddings_former"}

_STANDING = """
    SELECT (SELECT count(*) FROM memories_v2), (SELECT count(*) FROM memories_v2 WHERE model IS NULL),
        (SELECT count(*) FROM embeddings_next), (SELECT count(*) FROM embeddings_former)
"""

_MISSING = """
    SELECT document, agent_id, content, occurred_at FROM memories_v2 AS m
    WHERE document > ? AND NOT EXISTS (SELECT 1 FROM embeddings_next AS e WHERE e.document = m.document)
    ORDER BY document LIMIT ?
"""

_PREPARE = """
    INSERT INTO embeddings_next (document, model, vector) SELECT document, ?2, ?3 FROM memories_v2 WHERE document = ?1
    ON CONFLICT (document) DO NOTHING
"""


@attrs.frozen
class SqliteModels:
    """The Models of one SQLite file."""

    _path: Path
    _connections: Connections

    async def standing(self) -> ModelStanding:
        """Count the vectors of each."""
        async with self._connections.lookups.session() as session:
            return await session.run(_standing)

    @asynccontextmanager
    async def migration(self) -> AsyncIterator[Migration]:
        """Become the process that may change the model; MigrationRunning if another one is."""
        taken: list[int] = []
        path = self._path.with_name(self._path.name + LOCK_SUFFIX)
        try:
            await in_thread(lambda: taken.append(_lock(path)))
            yield _SqliteMigration(self._connections)
        finally:
            for lock in taken:
                os.close(lock)


@attrs.frozen
class _SqliteMigration:
    _connections: Connections

    async def begin(self, model: EmbeddingModel, canary: Canary) -> None:
        def work(connection: sqlite3.Connection) -> None:
            number = insert_model(connection, model)
            keep_canary(connection, number, canary)
            connection.execute("UPDATE embedding_models SET role = 'next' WHERE id = ?", (number,))

        await self._write(work)

    async def missing(self, after: int, limit: int) -> list[Unembedded]:
        def work(connection: sqlite3.Connection) -> list[Unembedded]:
            return [
                Unembedded(
                    document=document, agent_id=agent_id, content=content, occurred_at=optional_moment(occurred_at)
                )
                for document, agent_id, content, occurred_at in connection.execute(_MISSING, (after, limit))
            ]

        async with self._connections.lookups.session() as session:
            return await session.run(work)

    async def prepare(self, vectors: Mapping[int, Vector]) -> int:
        def work(connection: sqlite3.Connection) -> int:
            number = _number(connection, "next")
            rows = [(document, number, vector.data) for document, vector in vectors.items()]
            return connection.executemany(_PREPARE, rows).rowcount if rows else 0

        return await self._write(work)

    async def switch(self, spare: int) -> bool:
        return await self._write(lambda connection: _switch(connection, spare))

    async def roll_back(self) -> None:
        await self._write(_roll_back)

    async def forget(self, role: Role, limit: int) -> int:
        table = _TABLES[role]

        def work(connection: sqlite3.Connection) -> int:
            chosen = f"SELECT document FROM {table} LIMIT ?"  # noqa: S608 - a constant name
            deleted = connection.execute(f"DELETE FROM {table} WHERE document IN ({chosen})", (limit,)).rowcount  # noqa: S608 - as above
            if deleted < limit:
                connection.execute("UPDATE embedding_models SET role = NULL WHERE role = ?", (role,))
            return deleted

        return await self._write(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._connections.writing() as session:
            return await session.run(work)


def _standing(connection: sqlite3.Connection) -> ModelStanding:
    memories, waiting, prepared, kept = connection.execute(_STANDING).fetchone()
    active = active_model(connection)
    following = model_in_role(connection, "next")
    former = model_in_role(connection, "former")
    return ModelStanding(
        memories=memories,
        active=None if active is None else active[1],
        embedded=memories - waiting,
        next=None if following is None else following[1],
        prepared=prepared,
        former=None if former is None else former[1],
        kept=kept,
    )


def _number(connection: sqlite3.Connection, role: Role) -> int | None:
    found = model_in_role(connection, role)
    return None if found is None else found[0]


def _switch(connection: sqlite3.Connection, spare: int) -> bool:
    if _number(connection, "former") is not None:
        raise RuntimeError("a store keeps one former model only")
    (missing,) = connection.execute(f"SELECT count(*) FROM ({_MISSING})", (0, spare + 1)).fetchone()  # noqa: S608 - a constant text
    if missing > spare:
        return False
    _activate(connection, _number(connection, "next"), "embeddings_next", "embeddings_former")
    return True


def _roll_back(connection: sqlite3.Connection) -> None:
    number = _number(connection, "former")
    if number is None:
        raise NoFormerModel(
            part="embeddings",
            reason="the store keeps no vectors of a former model",
            hint="Set the embedder to the model that you want, and run `tmws embeddings migrate`",
        )
    _activate(connection, number, "embeddings_former")


def _activate(connection: sqlite3.Connection, number: int | None, *tables: str) -> None:
    """Make a model the active one, whose vectors are in the first table.

    The tables hand on their contents, from the active one to the last, to the one before it, and so on to the first,
    to the active one. Renaming them costs nothing, but each memory's row is written: 100,000 take 0.8 s.
    """
    connection.execute("ALTER TABLE embeddings RENAME TO embeddings_leaving")
    for source, target in zip(tables, ("embeddings", *tables), strict=False):
        connection.execute(f"ALTER TABLE {source} RENAME TO {target}")
    connection.execute(f"ALTER TABLE embeddings_leaving RENAME TO {tables[-1]}")
    connection.execute("UPDATE embedding_models SET role = NULL WHERE role = 'former' OR id = ?", (number,))
    connection.execute("UPDATE embedding_models SET active = 0, role = 'former' WHERE active = 1")
    connection.execute("UPDATE embedding_models SET active = 1 WHERE id = ?", (number,))
    connection.execute(
        "UPDATE memories_v2 SET model = CASE WHEN document IN (SELECT document FROM embeddings) THEN ? END", (number,)
    )
    connection.execute("UPDATE document_numbers SET changes = changes + 1, edits = edits + 1")


def _lock(path: Path) -> int:
    """Take the lock, which the system gives back when this process ends, however it ends; return its descriptor."""
    try:
        import fcntl  # noqa: PLC0415 - Windows has none
    except ImportError:
        raise StorageUnavailable(
            part=PART, reason="this system cannot lock a file", hint="Change the model on Linux or macOS"
        ) from None
    try:
        descriptor = open_regular(str(path), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise file_error(error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise MigrationRunning(
            part="embeddings",
            reason=f"process {holder or 'unknown'} is changing the model of this store",
            hint="Wait until it ends: `tmws embeddings status` tells how far it is",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor
