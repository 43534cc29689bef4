"""The store: snapshots, transactions, and questions about the store as a whole."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs

from tmws_adapters.postgres import checks, entries, models
from tmws_adapters.postgres.agents import PostgresAgents, PostgresCredentials
from tmws_adapters.postgres.audit import PostgresAuditLog
from tmws_adapters.postgres.connections import Connections, Reading
from tmws_adapters.postgres.housekeeping import Housekeeping
from tmws_adapters.postgres.locks import EMBEDDING, LONGEST_BATCH, try_to_hold
from tmws_adapters.postgres.reader import PostgresMemoryReader
from tmws_adapters.postgres.replicas import Replicas
from tmws_adapters.postgres.session import Session
from tmws_adapters.postgres.words import count_words
from tmws_adapters.postgres.writer import PostgresMemoryWriter
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.embedding import Canary, EmbeddingModel, Vector
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.health import Flaw, Read, Reindexed, StorageHealth, unheard


@attrs.frozen
class PostgresSnapshot:
    """A consistent view of the store."""

    memories: PostgresMemoryReader
    agents: PostgresAgents
    credentials: PostgresCredentials
    audit_log: PostgresAuditLog


@attrs.frozen
class PostgresUnitOfWork:
    """One transaction."""

    memories: PostgresMemoryReader
    changes: PostgresMemoryWriter
    agents: PostgresAgents
    credentials: PostgresCredentials
    audit_log: PostgresAuditLog
    _session: Session

    async def audit(self, events: Sequence[AuditEvent]) -> None:
        """Append to the audit log."""
        await self.audit_log.append(events)

    async def use_model(self, model: EmbeddingModel, canary: Canary | None = None) -> None:
        """Make `model` the store's active one if it has none yet; ModelMismatch if it has another."""
        await models.use_model(self._session, model, canary)


@attrs.define(eq=False)
class PostgresStorage:
    """A Storage in one PostgreSQL database: changed over `connections`, read over `reading`, if need be on replicas.

    `timeline` is the SQL that tells on which one a server is.
    """

    _connections: Connections
    _reading: Reading
    _replicas: Replicas
    _housekeeping: Housekeeping
    _timeline: str

    @asynccontextmanager
    async def read(self) -> AsyncIterator[PostgresSnapshot]:
        """Open a snapshot."""
        async with self._reading.snapshot() as session:
            yield PostgresSnapshot(
                PostgresMemoryReader(session, self._timeline),
                PostgresAgents(session),
                PostgresCredentials(session),
                PostgresAuditLog(session),
            )

    @asynccontextmanager
    async def write(self, agent_id: str = "") -> AsyncIterator[PostgresUnitOfWork]:
        """Open a transaction: committed, and durable, when the block ends; rolled back if it raises."""
        await self._housekeeping.look_if_overdue()
        async with self._connections.unit(agent_id) as session:
            yield PostgresUnitOfWork(
                PostgresMemoryReader(session, self._timeline),
                PostgresMemoryWriter(session),
                PostgresAgents(session),
                PostgresCredentials(session),
                PostgresAuditLog(session),
                session,
            )

    @asynccontextmanager
    async def embedding(self) -> AsyncIterator[bool]:
        """Become the one process that embeds what waits until the block ends; False while another one is."""
        async with self._connections.aside() as session:
            yield await try_to_hold(session, EMBEDDING, LONGEST_BATCH)

    async def count_words(self, texts: Sequence[str]) -> list[Counter[str] | None]:
        """Return how often each of the texts has each word."""
        return [*await count_words(texts)]

    async def vectors(
        self, documents: Sequence[int], model: EmbeddingModel | None = None, timeline: int | None = None
    ) -> dict[int, Vector]:
        """Return the active model's vectors of those documents that have one.

        None if another `model` is active, or the server is on another `timeline`.
        """
        sql = f"""
            SELECT e.document, e.vector FROM embeddings AS e
            WHERE e.document = ANY(%(documents)s::bigint[]) AND e.model = %(model)s
                AND (%(timeline)s::integer IS NULL OR (SELECT {self._timeline}) = %(timeline)s::integer)
        """  # noqa: S608 - a constant text, values are bound
        async with self._reading.lookup() as session:
            active = await models.active_model(session)
            if active is None or (model is not None and active[1].model != model):
                return {}
            asked = {"documents": list(documents), "model": active[0], "timeline": timeline}
            rows = await session.rows(sql, asked, binary=True)
        return dict(rows)

    async def model(self) -> EmbeddingModel | None:
        """Return the active model, or None in a store that holds no vector yet."""
        async with self._reading.lookup() as session:
            active = await models.active_model(session)
        return None if active is None else active[1].model

    async def canary(self, model: EmbeddingModel) -> Canary | None:
        """Return what one of the store's models is recognised by, or None."""
        async with self._reading.lookup() as session:
            return await models.canary_of(session, model)

    async def changes(self) -> int:
        """Return a number that is another one whenever memories, or their vectors, may have changed."""
        async with self._connections.lookup() as session:
            ((changes,),) = await session.rows("SELECT sum(changes)::bigint FROM memory_changes")
        return int(changes)

    async def health(self) -> StorageHealth:
        """Prove that the store can be read; raises when it cannot."""
        try:
            async with self._connections.lookup(waits=False) as session:
                found = await checks.health(session)
        except StorageUnavailable as error:
            if not self._replicas.members:
                raise
            async with self._replicas.lookup() as session:
                found = await checks.health(session)
            found = attrs.evolve(found, problem=f"read from a replica, as nothing can be stored: {error.problem}")
        return attrs.evolve(found, pool=self._connections.figures)

    async def integrity(self, read: Read = unheard) -> list[Flaw]:
        """Check all tables against each other, and the words of the index against the texts; empty if it is sound."""
        async with self._connections.snapshot() as session:
            flaws = await checks.integrity(session)
        return [*flaws, *await entries.flaws(self._connections, read)]

    async def reindex(self, read: Read = unheard) -> Reindexed:
        """Make the entries of the lexical index those of the texts again, each in a unit of its own."""
        return await entries.reindex(self._connections, read)
