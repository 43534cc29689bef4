"""Changes memories in one transaction, their lexical entries and vectors along with them."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs
import orjson

from tmws_adapters.sql.memories import FORGET_KEYS, RELINK, written_anew
from tmws_adapters.sqlite.models import model_for
from tmws_adapters.sqlite.rows import FORMS, SELECT_MEMORIES, WRITTEN_COLUMNS, insert_shares, values_of
from tmws_adapters.sqlite.session import Session
from tmws_adapters.sqlite.times import microseconds
from tmws_adapters.sqlite.turns import insert_texts, lend, place_of, places_behind, refresh, refresh_behind
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import Memory, Uses
from tmws_core.errors import MemoryNotFound
from tmws_core.ports.storage import NewMemory, Relinked, UsedKey

_INSERT = f"""
    INSERT INTO memories_v2 (document, model, {", ".join(WRITTEN_COLUMNS)})
    VALUES (?, ?{", ?" * len(WRITTEN_COLUMNS)})
"""  # noqa: S608 - names are constants, values are bound

_UPDATE = f"UPDATE memories_v2 SET {', '.join(f'{column} = ?' for column in WRITTEN_COLUMNS)} WHERE id = ?"  # noqa: S608 - as above

_REMEMBER = """
    INSERT OR REPLACE INTO idempotency_keys (agent_id, key, memory_id, request_hash, duplicate) VALUES (?, ?, ?, ?, ?)
"""

_FORGET = FORGET_KEYS.format(
    theirs="memory_id IN (SELECT value FROM json_each(:memories))",
    new="key IN (SELECT value FROM json_each(:keys))",
)

_RELINK = RELINK.format(id=":id", at=":at")


@attrs.frozen
class SqliteMemoryWriter:
    """A MemoryWriter; each method is one trip to a worker thread."""

    _session: Session

    async def add(self, new: Sequence[NewMemory]) -> None:
        """Store memories, their shares, lexical entries and vectors."""
        if new:
            await self._session.run(lambda connection: _add(connection, new))

    async def remember(self, keys: Sequence[UsedKey]) -> None:
        """Remember which memories idempotency keys were answered with; a key that was used before is taken over."""
        rows = [(each.agent_id, each.key, each.memory_id, each.request_hash, each.duplicate) for each in keys]
        repeated = [each for each in keys if each.duplicate]
        values = {
            "memories": orjson.dumps([each.memory_id for each in repeated]).decode(),
            "keys": orjson.dumps([each.key for each in repeated]).decode(),
        }

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_REMEMBER, rows)
            if repeated:
                connection.execute(_FORGET, values)

        if rows:
            await self._session.run(work)

    async def replace(self, former: Memory, changed: NewMemory) -> None:
        """Put the changed memory in the place of the former one; MemoryNotFound if it is gone."""
        await self._session.run(lambda connection: _replace(connection, former, changed))

    async def delete(self, memory: Memory, at: datetime | None = None) -> list[Relinked]:
        """Remove a memory with all that belongs to it, and return what it had replaced."""
        values = {"id": memory.id, "at": microseconds(at or memory.updated_at)}

        def work(connection: sqlite3.Connection) -> list[Relinked]:
            _documents(connection, 0, edits=1)
            _drop_text(connection, memory.document)
            relinked = connection.execute(_RELINK, values).fetchall()
            connection.execute("DELETE FROM memories_v2 WHERE id = ?", (memory.id,))
            connection.execute("DELETE FROM idempotency_keys WHERE memory_id = ?", (memory.id,))
            returned = _returned_turns(connection, [own for own, owner, *_ in relinked if owner == memory.agent_id])
            places = places_behind(connection, (memory.document, memory), *returned.items())
            places |= {turn: place_of(turn, each) for turn, each in returned.items()}
            for turn in written_anew(returned.keys(), places):
                lend(connection, turn, places[turn])
            return [Relinked(*row) for row in relinked]

        return await self._session.run(work)

    async def add_uses(self, uses: Mapping[str, Uses]) -> None:
        """Add to how often memories were used, by id; those that are gone are passed over."""
        sql = """
            INSERT INTO memory_uses (memory_id, uses, used_at) SELECT id, ?2, ?3 FROM memories_v2 WHERE id = ?1
            ON CONFLICT (memory_id) DO UPDATE SET uses = uses + excluded.uses, used_at = max(used_at, excluded.used_at)
        """
        rows = [(memory_id, each.count, microseconds(each.last)) for memory_id, each in uses.items()]
        await self._session.run(lambda connection: connection.executemany(sql, rows))

    async def put_vectors(self, vectors: Mapping[int, Vector]) -> int:
        """Add vectors of the active model by document and return how many; documents that are gone are passed over."""
        return await self._session.run(lambda connection: _put_vectors(connection, vectors))


def _add(connection: sqlite3.Connection, new: Sequence[NewMemory]) -> None:
    first = _documents(connection, len(new))
    model = model_for(connection, [each.vector for each in new if each.vector is not None])
    numbered = list(enumerate(new, start=first))
    connection.executemany(
        _INSERT,
        [(document, None if each.vector is None else model, *values_of(each)) for document, each in numbered],
    )
    for each in new:
        if each.memory.shared_with:
            insert_shares(connection, each.memory)
    _insert_texts(connection, numbered, model)


def _replace(connection: sqlite3.Connection, former: Memory, changed: NewMemory) -> None:
    memory = changed.memory
    document = _documents(connection, 1, edits=1)
    if connection.execute(_UPDATE, (*values_of(changed), memory.id)).rowcount == 0:
        raise MemoryNotFound(memory_id=memory.id)
    connection.execute("DELETE FROM memory_shares WHERE memory_id = ?", (memory.id,))
    insert_shares(connection, memory)
    if memory.embedded_by != former.embedded_by:
        _replace_text(connection, former, changed, document)
    elif (memory.place, memory.shared_with) != (former.place, former.shared_with):
        refresh(connection, former.document, memory)
        refresh_behind(connection, (former.document, memory))
    # A text that is stored anew comes behind those of the same sequence.
    if (memory.place, memory.embedded_by) != (former.place, former.embedded_by):
        refresh_behind(connection, (former.document, former))
    if memory.content != former.content:
        _keep_text(connection, former, memory)


def _returned_turns(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[int, Memory]:
    """Return what has been replaced until now, and stands among the turns of its session again, by document.

    Only of the deleted memory's owner, who can do something about how many there are.
    """
    sql = f"{SELECT_MEMORIES} WHERE m.id = ?"
    memories = [FORMS.memory(connection.execute(sql, (memory_id,)).fetchone()) for memory_id in ids]
    return {memory.document: memory for memory in memories if memory.is_turn}


def _replace_text(connection: sqlite3.Connection, former: Memory, changed: NewMemory, document: int) -> None:
    memory = changed.memory
    vectors = [] if changed.vector is None else [changed.vector]
    model = model_for(connection, vectors)
    _drop_text(connection, former.document)
    connection.execute("UPDATE memories_v2 SET document = ?, model = ? WHERE id = ?", (document, model, memory.id))
    _insert_texts(connection, [(document, changed)], model)


def _keep_text(connection: sqlite3.Connection, former: Memory, memory: Memory) -> None:
    connection.execute(
        """
        INSERT INTO memory_history (memory_id, version, content, valid_from, valid_to, changed_by)
        VALUES (?, ?, ?, ?, ?, ?)
        """,
        (
            memory.id,
            former.version,
            former.content,
            microseconds(former.updated_at),
            microseconds(memory.updated_at),
            memory.written_by,
        ),
    )


def _documents(connection: sqlite3.Connection, count: int, edits: int = 0) -> int:
    """Take the numbers of `count` documents, and return the first.

    This also counts one change of the memories, and whether it is an edit: more than an addition.
    """
    sql = "UPDATE document_numbers SET last = last + ?, changes = changes + 1, edits = edits + ? RETURNING last"
    ((last,),) = connection.execute(sql, (count, edits)).fetchall()
    return int(last) - count + 1


def _insert_texts(connection: sqlite3.Connection, numbered: Sequence[tuple[int, NewMemory]], model: int | None) -> None:
    insert_texts(connection, [(document, each.lexical.text, each.memory) for document, each in numbered])
    connection.executemany(
        "INSERT INTO embeddings (document, model, vector) VALUES (?, ?, ?)",
        [(document, model, each.vector.data) for document, each in numbered if each.vector is not None],
    )


def _drop_text(connection: sqlite3.Connection, document: int) -> None:
    connection.execute("DELETE FROM memories_fts WHERE rowid = ?", (document,))
    for table in ("embeddings", "embeddings_next", "embeddings_former"):
        connection.execute(f"DELETE FROM {table} WHERE document = ?", (document,))  # noqa: S608 - constant names


def _put_vectors(connection: sqlite3.Connection, vectors: Mapping[int, Vector]) -> int:
    model = model_for(connection, vectors.values())
    _documents(connection, 0, edits=1)
    added = 0
    for document, vector in vectors.items():
        waiting = "UPDATE memories_v2 SET model = ? WHERE document = ? AND model IS NULL"
        if connection.execute(waiting, (model, document)).rowcount:
            connection.execute(
                "INSERT INTO embeddings (document, model, vector) VALUES (?, ?, ?)", (document, model, vector.data)
            )
            added += 1
    return added
