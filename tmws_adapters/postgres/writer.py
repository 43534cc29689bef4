"""Changes memories in one transaction, their lexical entries and vectors along with them."""

from collections.abc import Mapping, Sequence

import attrs

from tmws_adapters.postgres import turns
from tmws_adapters.postgres.locks import lock_owners, share_models
from tmws_adapters.postgres.models import model_for
from tmws_adapters.postgres.readers import readers_of
from tmws_adapters.postgres.rows import insert_memories, insert_shares, update_memory
from tmws_adapters.postgres.session import Session
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import Memory, Uses
from tmws_core.errors import MemoryNotFound
from tmws_core.ports.storage import NewMemory

_ADD_USES = """
    INSERT INTO memory_uses AS u (memory_id, uses, used_at)
    SELECT m.id, added.uses, added.used_at
    FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[]) AS added (id, uses, used_at)
    JOIN memories_v2 AS m ON m.id = added.id ORDER BY m.id
    ON CONFLICT (memory_id) DO UPDATE SET uses = u.uses + excluded.uses, used_at = greatest(u.used_at, excluded.used_at)
"""

_INSERT_VECTOR = "INSERT INTO embeddings (document, model, vector) VALUES (%s, %s, %b)"


@attrs.frozen
class PostgresMemoryWriter:
    """A MemoryWriter; each method locks the owners of what it changes first."""

    _session: Session

    async def add(self, new: Sequence[NewMemory]) -> None:
        """Store memories, their shares, lexical entries, vectors and idempotency keys."""
        if not new:
            return
        session = self._session
        await lock_owners(session, (each.memory.agent_id for each in new))
        model = await model_for(session, [each.vector for each in new if each.vector is not None])
        numbered = list(zip(await _documents(session, len(new)), new, strict=True))
        await insert_memories(session, numbered, model)
        await turns.add_texts(session, {document: (each.lexical, each.memory) for document, each in numbered})
        await _insert_vectors(
            session, model, {document: each.vector for document, each in numbered if each.vector is not None}
        )
        keys = [
            (each.memory.agent_id, each.idempotency_key, each.memory.id)
            for each in new
            if each.idempotency_key is not None
        ]
        if keys:
            await session.run_many("INSERT INTO idempotency_keys (agent_id, key, memory_id) VALUES (%s, %s, %s)", keys)
        session.count(changes=1)

    async def replace(self, former: Memory, changed: NewMemory) -> None:
        """Put the changed memory in the place of the former one; MemoryNotFound if it is gone."""
        session, memory = self._session, changed.memory
        await lock_owners(session, (former.agent_id,))
        if not await update_memory(session, changed):
            raise MemoryNotFound(memory_id=memory.id)
        await session.run("DELETE FROM memory_shares WHERE memory_id = %s", (memory.id,))
        await insert_shares(session, [memory])
        if memory.content != former.content:
            await self._replace_text(former, changed)
        elif (memory.access_level, memory.shared_with) != (former.access_level, former.shared_with):
            behind = await turns.documents_behind(session, memory)
            await turns.refresh(session, [former.document, *behind], {former.document: readers_of(memory)})
        if memory.access_level != former.access_level:
            await turns.refresh(session, await turns.documents_behind(session, former))
        session.count(changes=1)

    async def delete(self, memory: Memory) -> None:
        """Remove a memory with its shares, history, lexical entry and vector; its idempotency key stays."""
        session = self._session
        await lock_owners(session, (memory.agent_id,))
        await session.run("DELETE FROM memories_v2 WHERE id = %s", (memory.id,))
        await turns.remove_text(session, memory.document)
        await turns.refresh(session, await turns.documents_behind(session, memory))
        session.count(changes=1)

    async def add_uses(self, uses: Mapping[str, Uses]) -> None:
        """Add to how often memories were used, by id; those that are gone are passed over."""
        if uses:
            values = list(uses.values())
            await self._session.run(
                _ADD_USES, (list(uses), [each.count for each in values], [each.last for each in values])
            )

    async def put_vectors(self, vectors: Mapping[int, Vector]) -> int:
        """Add vectors of the active model by document and return how many; documents that are gone are passed over."""
        session = self._session
        await share_models(session)
        model = await model_for(session, vectors.values())
        sql = """
            UPDATE memories_v2 SET model = %s WHERE document = ANY(%s::bigint[]) AND model IS NULL RETURNING document
        """
        waiting = {document for (document,) in await session.rows(sql, (model, sorted(vectors)))}
        await _insert_vectors(session, model, {each: vectors[each] for each in vectors if each in waiting})
        session.count(changes=1)
        return len(waiting)

    async def _replace_text(self, former: Memory, changed: NewMemory) -> None:
        session, memory = self._session, changed.memory
        model = await model_for(session, [] if changed.vector is None else [changed.vector])
        (document,) = await _documents(session, 1)
        await turns.remove_text(session, former.document)
        await session.run("DELETE FROM embeddings WHERE document = %s", (former.document,))
        await session.run(
            "UPDATE memories_v2 SET document = %s, model = %s WHERE id = %s", (document, model, memory.id)
        )
        await turns.add_texts(session, {document: (changed.lexical, memory)})
        if changed.vector is not None:
            await _insert_vectors(session, model, {document: changed.vector})
        await session.run(
            """
            INSERT INTO memory_history (memory_id, version, content, valid_from, valid_to, changed_by)
            VALUES (%s, %s, %s, %s, %s, %s)
            """,
            (memory.id, former.version, former.content, former.updated_at, memory.updated_at, memory.written_by),
        )


async def _documents(session: Session, count: int) -> list[int]:
    """Take the numbers of `count` documents, ascending."""
    rows = await session.rows("SELECT nextval('documents') FROM generate_series(1, %s)", (count,))
    return [number for (number,) in rows]


async def _insert_vectors(session: Session, model: int | None, vectors: Mapping[int, Vector]) -> None:
    if vectors:
        await session.run_many(_INSERT_VECTOR, [(document, model, vector) for document, vector in vectors.items()])
