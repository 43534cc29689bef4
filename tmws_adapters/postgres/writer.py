"""Changes memories in one transaction, their lexical entries and vectors along with them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from tmws_adapters.postgres import turns
from tmws_adapters.postgres.locks import lock_owners, share_models, share_successions
from tmws_adapters.postgres.models import ACTIVE_MODEL, model_for, number_of
from tmws_adapters.postgres.readers import owned_by, readers_of
from tmws_adapters.postgres.rows import FORMS, SELECT_MEMORIES, insert_memories, insert_shares, update_memory
from tmws_adapters.postgres.session import Session
from tmws_adapters.postgres.words import count_words
from tmws_adapters.sql.memories import FORGET_KEYS, RELINK, written_anew
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import Memory, Uses
from tmws_core.errors import MemoryNotFound
from tmws_core.ports.storage import NewMemory, Relinked, UsedKey

_ADD_USES = """
    INSERT INTO memory_uses AS u (memory_id, uses, used_at)
    SELECT m.id, added.uses, added.used_at
    FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[]) AS added (id, uses, used_at)
    JOIN memories_v2 AS m ON m.id = added.id ORDER BY m.id
    ON CONFLICT (memory_id) DO UPDATE SET uses = u.uses + excluded.uses, used_at = greatest(u.used_at, excluded.used_at)
"""

_FORGET = FORGET_KEYS.format(theirs="memory_id = ANY(%s::text[])", new="(key = ANY(%s::text[]))")

_RELINK = RELINK.format(id="%(id)s", at="%(at)s")

_HAS_REPLACED = "SELECT 1 FROM memories_v2 WHERE superseded_by = %s AND id <> %s LIMIT 1"

_DOCUMENTS = "SELECT nextval('documents') FROM generate_series(1, %s)"
"""Takes the numbers of so many documents, ascending."""

TRIP = 100
"""Memories of a batch whose vectors are sent together: a large index takes 0.5 s for them, and trips have a limit."""

_INSERT_VECTOR = "INSERT INTO embeddings (document, model, vector) VALUES (%s, %s, %b)"

_KEEP_TEXT = """
    INSERT INTO memory_history (memory_id, version, content, valid_from, valid_to, changed_by)
    VALUES (%s, %s, %s, %s, %s, %s)
"""

_REMEMBER = """
    INSERT INTO idempotency_keys (agent_id, key, memory_id, request_hash, duplicate)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[])
    ON CONFLICT (agent_id, key) DO UPDATE SET
        memory_id = excluded.memory_id, request_hash = excluded.request_hash, duplicate = excluded.duplicate
"""


@attrs.frozen
class PostgresMemoryWriter:
    """A MemoryWriter; each method locks the owners of what it changes first."""

    _session: Session

    async def add(self, new: Sequence[NewMemory]) -> None:
        """Store memories, their shares, lexical entries and vectors."""
        if not new:
            return
        session = self._session
        session.see(owned_by(each.memory.agent_id for each in new))
        lock_owners(session, (each.memory.agent_id for each in new))
        documents, active = await session.answers((_DOCUMENTS, (len(new),)), (ACTIVE_MODEL, ()))
        model = number_of(active, [each.vector for each in new if each.vector is not None])
        numbered = [(document, each) for (document,), each in zip(documents, new, strict=True)]
        insert_memories(session, numbered, model)
        counts = await _counts_of(new)
        texts = {document: (words, each.memory) for (document, each), words in zip(numbered, counts, strict=True)}
        await turns.add_texts(session, texts)
        for place, (document, each) in enumerate(numbered, 1):
            if each.vector is not None:
                session.later(_INSERT_VECTOR, (document, model, each.vector))
            if place % TRIP == 0:
                await session.flush()
        session.count(changes=1)

    async def remember(self, keys: Sequence[UsedKey]) -> None:
        """Remember which memories idempotency keys were answered with; a key that was used before is taken over."""
        if keys:
            self._session.see(owned_by(each.agent_id for each in keys))
            lock_owners(self._session, (each.agent_id for each in keys))
            rows = [(each.agent_id, each.key, each.memory_id, each.request_hash, each.duplicate) for each in keys]
            self._session.later(_REMEMBER, [list(column) for column in zip(*rows, strict=True)])
            if repeated := [each for each in keys if each.duplicate]:
                values = [each.key for each in repeated], [each.memory_id for each in repeated]
                self._session.later(_FORGET, values)

    async def replace(self, former: Memory, changed: NewMemory) -> None:
        """Put the changed memory in the place of the former one; MemoryNotFound if it is gone."""
        session, memory = self._session, changed.memory
        session.see(owned_by((former.agent_id,)))
        lock_owners(session, (former.agent_id,))
        links = (memory.superseded_by, memory.superseded_at) != (former.superseded_by, former.superseded_at)
        if not await update_memory(session, former.version, changed, links=links):
            raise MemoryNotFound(memory_id=memory.id)
        session.later("DELETE FROM memory_shares WHERE memory_id = %s", (memory.id,))
        insert_shares(session, [memory])
        if memory.embedded_by != former.embedded_by:
            await self._replace_text(former, changed)
        elif (memory.place, memory.shared_with) != (former.place, former.shared_with):
            behind = await turns.documents_behind(session, (former.document, memory))
            await turns.refresh(session, [former.document, *behind], {former.document: readers_of(memory)})
        # A text that is stored anew comes behind those of the same sequence.
        if (memory.place, memory.embedded_by) != (former.place, former.embedded_by):
            await turns.refresh(session, await turns.documents_behind(session, (former.document, former)))
        if memory.content != former.content:
            values = former.version, former.content, former.updated_at, memory.updated_at, memory.written_by
            session.later(_KEEP_TEXT, (memory.id, *values))
        session.count(changes=1)

    async def delete(self, memory: Memory, at: datetime | None = None) -> list[Relinked]:
        """Remove a memory with all that belongs to it, and return what it had replaced."""
        session = self._session
        session.see(owned_by((memory.agent_id,)))
        lock_owners(session, (memory.agent_id,))
        relinked = await self._relink(memory, at or memory.updated_at)
        session.later("DELETE FROM memories_v2 WHERE id = %s", (memory.id,))
        session.later("DELETE FROM idempotency_keys WHERE memory_id = %s", (memory.id,))
        await turns.remove_text(session, memory.document)
        returned = await self._returned_turns(memory.agent_id, relinked)
        behind = await turns.documents_behind(session, (memory.document, memory), *returned.items())
        await turns.refresh(session, written_anew(returned.keys(), behind))
        session.count(changes=1)
        return relinked

    async def add_uses(self, uses: Mapping[str, Uses]) -> None:
        """Add to how often memories were used, by id; those that are gone are passed over."""
        if uses:
            values = list(uses.values())
            with self._session.seeing_all():
                await self._session.run(
                    _ADD_USES, (list(uses), [each.count for each in values], [each.last for each in values])
                )

    async def put_vectors(self, vectors: Mapping[int, Vector]) -> int:
        """Add vectors of the active model by document and return how many; documents that are gone are passed over.

        So are those that others are changing: waiting for one would keep the owners of all others waiting. They are
        there the next time.
        """
        session = self._session
        share_models(session)
        model = await model_for(session, vectors.values())
        sql = """
            UPDATE memories_v2 SET model = %s WHERE document = ANY(ARRAY(
                SELECT document FROM memories_v2 WHERE document = ANY(%s::bigint[]) AND model IS NULL
                ORDER BY document FOR UPDATE SKIP LOCKED
            )) RETURNING document
        """
        with session.seeing_all():
            waiting = {document for (document,) in await session.rows(sql, (model, sorted(vectors)))}
        for place, document in enumerate(sorted(waiting), 1):
            session.later(_INSERT_VECTOR, (document, model, vectors[document]))
            if place % TRIP == 0:
                await session.flush()
        session.count(changes=1)
        return len(waiting)

    async def _relink(self, memory: Memory, at: datetime) -> list[Relinked]:
        """Let what a memory had replaced, whoever owns it, be replaced by the memory's own successor, or by nothing.

        Whoever deletes the successor at the same time waits until this memory is gone, and then finds linked to the
        successor what this one had replaced: it looks again until there is nothing.
        """
        session = self._session
        relinked: dict[str, Relinked] = {}
        share_successions(session)
        with session.seeing_all():
            session.later("SELECT 1 FROM memories_v2 WHERE id = %s FOR UPDATE", (memory.id,))
            while await session.row(_HAS_REPLACED, (memory.id, memory.id)):
                for row in await session.rows(_RELINK, {"id": memory.id, "at": at}):
                    relinked[row[0]] = Relinked(*row)
        return list(relinked.values())

    async def _returned_turns(self, agent_id: str, relinked: Sequence[Relinked]) -> dict[int, Memory]:
        """Return what has been replaced until now, and stands among the turns of its session again, by document.

        Only of the agent whose lock is held: what another one said stands alone until its session is written to.
        """
        own = [each.id for each in relinked if each.agent_id == agent_id]
        rows = await self._session.rows(f"{SELECT_MEMORIES} WHERE m.id = ANY(%s::text[])", (own,)) if own else ()
        return {memory.document: memory for memory in map(FORMS.memory, rows) if memory.is_turn}

    async def _replace_text(self, former: Memory, changed: NewMemory) -> None:
        session, memory = self._session, changed.memory
        model = await model_for(session, [] if changed.vector is None else [changed.vector])
        ((document,),) = await session.rows(_DOCUMENTS, (1,))
        await turns.remove_text(session, former.document)
        session.later("DELETE FROM embeddings WHERE document = %s", (former.document,))
        session.later("UPDATE memories_v2 SET document = %s, model = %s WHERE id = %s", (document, model, memory.id))
        (counts,) = await _counts_of([changed])
        await turns.add_texts(session, {document: (counts, memory)})
        if changed.vector is not None:
            session.later(_INSERT_VECTOR, (document, model, changed.vector))


async def _counts_of(new: Sequence[NewMemory]) -> list[Counter[str]]:
    """Return how often each text has each word; those that nobody has counted before are counted now."""
    counted = iter(await count_words([each.lexical.text for each in new if each.lexical.counts is None]))
    return [next(counted) if each.lexical.counts is None else each.lexical.counts for each in new]
