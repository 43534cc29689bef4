"""The store: snapshots, transactions, and questions about the store as a whole."""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import orjson

from tmws_adapters.sqlite import checks, entries, models
from tmws_adapters.sqlite.agents import SqliteAgents, SqliteCredentials
from tmws_adapters.sqlite.audit import SqliteAuditLog
from tmws_adapters.sqlite.connections import Connections
from tmws_adapters.sqlite.reader import SqliteMemoryReader
from tmws_adapters.sqlite.scopes import Scopes
from tmws_adapters.sqlite.session import Session
from tmws_adapters.sqlite.writer import SqliteMemoryWriter
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.embedding import Canary, EmbeddingModel, Vector
from tmws_core.errors import StorageCorrupt
from tmws_core.ports.health import Flaw, Read, Reindexed, StorageHealth, unheard


@attrs.frozen
class SqliteSnapshot:
    """A consistent view of the store."""

    memories: SqliteMemoryReader
    agents: SqliteAgents
    credentials: SqliteCredentials
    audit_log: SqliteAuditLog


@attrs.frozen
class SqliteUnitOfWork:
    """One transaction."""

    memories: SqliteMemoryReader
    changes: SqliteMemoryWriter
    agents: SqliteAgents
    credentials: SqliteCredentials
    audit_log: SqliteAuditLog
    _session: Session

    async def audit(self, events: Sequence[AuditEvent]) -> None:
        """Append to the audit log."""
        await self.audit_log.append(events)

    async def use_model(self, model: EmbeddingModel, canary: Canary | None = None) -> None:
        """Make `model` the store's active one if it has none yet; ModelMismatch if it has another."""
        await self._session.run(lambda connection: models.use_model(connection, model, canary))


@attrs.frozen
class SqliteStorage:
    """A Storage in one SQLite file."""

    _path: Path
    _connections: Connections
    _scopes: Scopes

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqliteSnapshot]:
        """Open a snapshot."""
        async with self._connections.snapshots.session() as session:
            yield SqliteSnapshot(
                SqliteMemoryReader(session, self._scopes),
                SqliteAgents(session),
                SqliteCredentials(session),
                SqliteAuditLog(session),
            )

    @asynccontextmanager
    async def write(self, agent_id: str = "") -> AsyncIterator[SqliteUnitOfWork]:
        """Open a transaction: committed, and durable, when the block ends; rolled back if it raises."""
        async with self._connections.writing(agent_id) as session:
            yield SqliteUnitOfWork(
                SqliteMemoryReader(session),
                SqliteMemoryWriter(session),
                SqliteAgents(session),
                SqliteCredentials(session),
                SqliteAuditLog(session),
                session,
            )

    @asynccontextmanager
    async def embedding(self) -> AsyncIterator[bool]:
        """Embed what waits: one process has the file."""
        yield True

    async def count_words(self, texts: Sequence[str]) -> list[Counter[str] | None]:
        """Return None for each of the texts: FTS5 takes them apart itself."""
        return [None] * len(texts)

    async def vectors(
        self,
        documents: Sequence[int],
        model: EmbeddingModel | None = None,
        timeline: int | None = None,  # noqa: ARG002 - a file has but one
    ) -> dict[int, Vector]:
        """Return the active model's vectors of those documents that have one; none if another `model` is active."""
        sql = """
            SELECT e.document, e.vector FROM json_each(?) AS wanted CROSS JOIN embeddings AS e
            ON e.document = wanted.value
        """
        values = (orjson.dumps(list(documents)).decode(),)

        def work(connection: sqlite3.Connection) -> dict[int, Vector]:
            active = models.active_model(connection)
            if model is not None and (active is None or active[1].model != model):
                return {}
            return {document: Vector(data) for document, data in connection.execute(sql, values)}

        async with self._connections.lookups.session() as session:
            return await session.run(work)

    async def model(self) -> EmbeddingModel | None:
        """Return the active model, or None in a store that holds no vector yet."""
        async with self._connections.lookups.session() as session:
            active = await session.run(models.active_model)
        return None if active is None else active[1].model

    async def canary(self, model: EmbeddingModel) -> Canary | None:
        """Return what one of the store's models is recognised by, or None."""
        async with self._connections.lookups.session() as session:
            return await session.run(lambda connection: models.canary_of(connection, model))

    async def changes(self) -> int:
        """Return a number that is another one whenever memories, or their vectors, may have changed."""
        async with self._connections.lookups.session() as session:
            return await session.run(
                lambda connection: int(connection.execute("SELECT changes FROM document_numbers").fetchone()[0])
            )

    async def health(self) -> StorageHealth:
        """Prove that the store can be read; raises when it cannot."""
        async with self._connections.lookups.session() as session:
            file = self._connections.file
            return await session.run(lambda connection: checks.health(connection, self._path, file))

    async def integrity(self, read: Read = unheard) -> list[Flaw]:
        """Check the whole file and return what is wrong with it; empty when it is sound."""
        try:
            async with self._connections.lookups.session() as session:
                flaws = await session.run(checks.integrity)
            return [*flaws, *await entries.flaws(self._connections, read)]
        except StorageCorrupt as error:
            return [Flaw(error.problem)]

    async def reindex(self, read: Read = unheard) -> Reindexed:
        """Make the entries of the lexical index those of the texts again, each in a unit of its own."""
        return await entries.reindex(self._connections, read)
