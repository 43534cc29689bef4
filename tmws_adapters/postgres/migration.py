"""The change from one embedding model to another: vectors are made ready beside the active ones."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs

from tmws_adapters.postgres.briefly import tried
from tmws_adapters.postgres.connections import Connections
from tmws_adapters.postgres.locks import ACTIVE, MIGRATION, MODELS, lock_models, try_to_hold
from tmws_adapters.postgres.models import INDEX, active_model, create_index, insert_model, keep_canary, model_in_role
from tmws_adapters.postgres.readers import ALL
from tmws_adapters.postgres.session import UNIT, Session
from tmws_core.domain.embedding import Canary, EmbeddingModel, Vector
from tmws_core.errors import MigrationRunning, NoFormerModel
from tmws_core.ports.models import Migration, ModelStanding, Role
from tmws_core.ports.storage import Unembedded

ATTEMPTS = 50
"""How often an index is tried to be made, or removed: for ten seconds, as long as any lock is waited for."""

STEP = 20_000
"""Documents whose rows one statement writes: 2 s on two busy cores; one for 250,000 would last longer than it may."""

_STANDING = """
    SELECT count(*), count(*) FILTER (WHERE model IS NOT NULL), (
        SELECT count(*) FROM embeddings WHERE model = (SELECT id FROM embedding_models WHERE role = 'next')
    ), (
        SELECT count(*) FROM embeddings WHERE model = (SELECT id FROM embedding_models WHERE role = 'former')
    ) FROM memories_v2
"""

_MISSING = """
    SELECT document, agent_id, content, occurred_at FROM memories_v2 AS m
    WHERE document > %(after)s AND NOT EXISTS (
        SELECT 1 FROM embeddings AS e WHERE e.document = m.document AND e.model = %(model)s
    )
    ORDER BY document LIMIT %(limit)s
"""

_PREPARE = """
    INSERT INTO embeddings (document, model, vector)
    SELECT document, %s, %b FROM memories_v2 WHERE document = %s FOR SHARE SKIP LOCKED
    ON CONFLICT (document, model) DO NOTHING
"""
"""Whoever is about to delete a memory, or to give it another text, would not see the vector, and leave it behind."""

_ORPHANS = """
    DELETE FROM embeddings AS e WHERE model = %s
        AND NOT EXISTS (SELECT FROM memories_v2 AS m WHERE m.document = e.document)
"""
"""Deletes what migrations of earlier versions left behind."""

_REASSIGN = """
    UPDATE memories_v2 AS m SET model = (
        SELECT e.model FROM embeddings AS e WHERE e.document = m.document AND e.model = %(model)s
    )
    WHERE m.document >= %(first)s AND m.document < %(behind)s
"""

_HOLDER = """
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND (classid, objid, objsubid) = (%s, %s, 2)
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@attrs.frozen
class PostgresModels:
    """The Models of one database."""

    _connections: Connections

    async def standing(self) -> ModelStanding:
        """Count the vectors of each."""
        async with self._connections.snapshot() as session:
            session.see([ALL])
            ((memories, embedded, prepared, kept),) = await session.rows(_STANDING)
            active = await active_model(session)
            following = await model_in_role(session, "next")
            former = await model_in_role(session, "former")
        return ModelStanding(
            memories=memories,
            active=None if active is None else active[1],
            embedded=embedded,
            next=None if following is None else following[1],
            prepared=prepared,
            former=None if former is None else former[1],
            kept=kept,
        )

    @asynccontextmanager
    async def migration(self) -> AsyncIterator[Migration]:
        """Become the one that may change the model, in all processes; MigrationRunning if another one is."""
        connection = await self._connections.opener.connect()
        try:
            # One transaction for all of it: between two, a pooler would lend the connection to somebody else.
            session = Session(connection, UNIT)
            if not await try_to_hold(session, MIGRATION, silence=0):
                holder = await session.row(_HOLDER, (MODELS, MIGRATION))
                raise MigrationRunning(
                    part="embeddings",
                    reason=f"process {holder[0] if holder else 'unknown'} of the server is changing the model",
                    hint="Wait until it ends: `tmws embeddings status` tells how far it is",
                )
            yield _PostgresMigration(self._connections)
        finally:
            await connection.close()


@attrs.frozen
class _PostgresMigration:
    _connections: Connections

    async def begin(self, model: EmbeddingModel, canary: Canary) -> None:
        async def insert(session: Session) -> None:
            number = await insert_model(session, model)
            await keep_canary(session, number, canary)
            await session.run("UPDATE embedding_models SET role = 'next' WHERE id = %s", (number,))
            await create_index(session, number, model.dimension, _index(number))

        await tried(self._connections, insert, ATTEMPTS)

    async def missing(self, after: int, limit: int) -> list[Unembedded]:
        async with self._connections.lookup() as session:
            session.see([ALL])
            values = {"after": after, "limit": limit, "model": await _number(session, "next")}
            return [
                Unembedded(document=document, agent_id=agent_id, content=content, occurred_at=occurred_at)
                for document, agent_id, content, occurred_at in await session.rows(_MISSING, values)
            ]

    async def prepare(self, vectors: Mapping[int, Vector]) -> int:
        if not vectors:
            return 0
        async with self._connections.unit() as session:
            session.see([ALL])
            number = await _number(session, "next")
            return await session.run_many(
                _PREPARE, [(number, vector, document) for document, vector in vectors.items()]
            )

    async def switch(self, spare: int) -> bool:
        async with self._connections.unit() as session:
            session.see([ALL])
            lock_models(session, ACTIVE)
            if await _number(session, "former") is not None:
                raise RuntimeError("a store keeps one former model only")
            number = await _number(session, "next")
            values = {"after": 0, "limit": spare + 1, "model": number}
            if len(await session.rows(_MISSING, values)) > spare:
                return False
            await session.run(_ORPHANS, (number,))
            await _activate(session, number)
            return True

    async def roll_back(self) -> None:
        async with self._connections.unit() as session:
            session.see([ALL])
            lock_models(session, ACTIVE)
            number = await _number(session, "former")
            if number is None:
                raise NoFormerModel(
                    part="embeddings",
                    reason="the store keeps no vectors of a former model",
                    hint="Set the embedder to the model that you want, and run `tmws embeddings migrate`",
                )
            await _activate(session, number)

    async def forget(self, role: Role, limit: int) -> int:
        sql = """
            DELETE FROM embeddings WHERE model = %(model)s AND document IN (
                SELECT document FROM embeddings WHERE model = %(model)s ORDER BY document LIMIT %(limit)s
            )
        """
        async with self._connections.unit() as session:
            number = await _number(session, role)
            deleted = await session.run(sql, {"model": number, "limit": limit})

        async def finish(session: Session) -> None:
            await session.run("UPDATE embedding_models SET role = NULL WHERE id = %s", (number,))
            await session.run(f"DROP INDEX IF EXISTS {_index(number)}")

        if deleted < limit and number is not None:
            await tried(self._connections, finish, ATTEMPTS)
        return deleted


async def _number(session: Session, role: Role) -> int | None:
    found = await model_in_role(session, role)
    return None if found is None else found[0]


async def _activate(session: Session, number: int | None) -> None:
    """Make a model the active one; each memory's row is written."""
    active = await active_model(session)
    if active is not None:
        await session.run(f"ALTER INDEX IF EXISTS {INDEX} RENAME TO {_index(active[0])}")
    await session.run(f"ALTER INDEX IF EXISTS {_index(number)} RENAME TO {INDEX}")
    await session.run("UPDATE embedding_models SET role = NULL WHERE role = 'former' OR id = %s", (number,))
    await session.run("UPDATE embedding_models SET active = false, role = 'former' WHERE active")
    await session.run("UPDATE embedding_models SET active = true WHERE id = %s", (number,))
    ((last,),) = await session.rows("SELECT coalesce(max(document), 0) FROM memories_v2")
    for first in range(0, last + 1, STEP):
        await session.run(_REASSIGN, {"model": number, "first": first, "behind": first + STEP})
    session.count(changes=1)


def _index(number: int | None) -> str:
    return f"{INDEX}_{number}"
