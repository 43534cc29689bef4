"""The tables of a PostgreSQL database, for moving house."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import orjson
import psycopg

from tmws_adapters.migrations import HEAD
from tmws_adapters.postgres import turns
from tmws_adapters.postgres.errors import PART
from tmws_adapters.postgres.models import INDEX, create_index
from tmws_adapters.postgres.opener import Opener
from tmws_adapters.postgres.partitions import make_partition
from tmws_adapters.postgres.readers import ALL
from tmws_adapters.postgres.rows import insert_memories
from tmws_adapters.postgres.session import SNAPSHOT, UNIT, Session
from tmws_adapters.postgres.words import count_words
from tmws_adapters.sql.origin import CREATE, KEEP, READ, TABLE, check_schema, origin_of
from tmws_adapters.sql.tables import (
    EMBEDDINGS,
    MEMORIES,
    MODELS,
    TABLES,
    Form,
    Origin,
    Row,
    Standing,
    Table,
    canonical,
    memory_of,
    roles_changed,
)
from tmws_core.domain.embedding import Vector
from tmws_core.domain.text import lexical_document
from tmws_core.errors import StorageBusy, StorageUnavailable
from tmws_core.ports.storage import NewMemory

BLOCK = 500
"""Rows that are read together: at most 32 MB of contents, mostly less than one."""

FOREVER = timedelta(0)
"""No limit for a statement: building an index takes minutes."""

MOVES = 0x746D_7705
"""The class of the lock of whoever moves a store here, held by a connection; those of units are in `locks`."""

_SHARES = """
    (SELECT coalesce(json_agg(json_build_array(agent_id, permission) ORDER BY place), '[]')
    FROM memory_shares WHERE memory_id = memories_v2.id)
"""

_KEPT = {EMBEDDINGS.name: "WHERE model IN (SELECT id FROM embedding_models WHERE active OR role IS NOT NULL)"}
"""What else a table holds means nothing any more."""

_MONTHS = """
    SELECT to_char(first, 'YYYY_MM'), first, first + interval '1 month' FROM unnest(%s::timestamptz[]) AS first
    WHERE to_regclass('memories_v2_' || to_char(first, 'YYYY_MM')) IS NULL AND NOT EXISTS (
        SELECT 1 FROM memories_v2 AS m WHERE m.created_at >= first AND m.created_at < first + interval '1 month'
    )
"""
"""Those of the months that have no partition, and no row in the default one."""

_STANDING = """
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END, (SELECT sum(changes)::bigint FROM memory_changes),
        coalesce((SELECT last FROM audit_head), 0)
    FROM documents
"""


_FROM: dict[Form, Callable[[Any], Any]] = {
    Form.TIME: lambda time: time.astimezone(UTC),
    Form.STAMP: lambda time: time.astimezone(UTC),
    Form.WORDS: tuple,
    Form.VECTOR: lambda vector: vector.data,
    Form.SHARES: lambda pairs: tuple(tuple(pair) for pair in pairs),
}

_EMBEDDED = Vector(b"")
"""Stands for the vector of a memory that has one; it is in another table."""


@attrs.frozen
class PostgresTables:
    """A Tables over one connection for reading and one for writing."""

    _reader: "psycopg.AsyncConnection[Row]"
    _writer: "psycopg.AsyncConnection[Row] | None"

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["PostgresSnapshot"]:
        """Begin to read; one at a time."""
        async with _session(self._reader, SNAPSHOT) as session:
            yield PostgresSnapshot(session)

    async def prepare(self, months: Sequence[datetime]) -> None:
        """Make the partitions of these months, given by their beginnings, that are missing."""
        async with self._unit() as session:
            for name, first, end in await session.rows(_MONTHS, (list(months),)):
                await make_partition(session, name, first, end)

    async def apply(self, table: Table, gone: Sequence[Row], new: Sequence[Row]) -> None:
        """Put rows in the place of others in one transaction; both may hold rows of one key."""
        async with self._unit() as session:
            if table is MEMORIES:
                await _apply_memories(session, gone, new)
            elif table is EMBEDDINGS:
                await _delete(session, table, gone)
                sql = "INSERT INTO embeddings (model, document, vector) VALUES (%s, %s, %b)"
                await session.run_many(sql, [(model, document, Vector(data)) for model, document, data in new])
                session.count(changes=1)
            else:
                if table is MODELS and roles_changed(gone, new):
                    await _forget_roles(session)
                present = {row[: table.keys] for row in new}
                await _delete(session, table, [row for row in gone if row[: table.keys] not in present])
                await _insert(session, table, new)

    async def finish(self, document: int) -> None:
        """Give no document a number up to this one again, and build the indexes that are missing."""
        async with self._unit() as session:
            await session.run("SELECT setval('documents', greatest(last_value, %s)) FROM documents", (document,))
            for table in ("embedding_models", "security_audit_logs"):
                await session.run(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table} HAVING max(id) > 0"  # noqa: S608 - constant names
                )
            await _create_indexes(session)
            await session.run(f"ANALYZE {', '.join(table.name for table in TABLES)}, memory_words, memory_postings")
            session.count(changes=1)

    async def origin(self) -> Origin | None:
        """Tell where the store was moved from, or None."""
        async with _session(self._reader, SNAPSHOT) as session:
            return await found_origin(session)

    async def keep_origin(self, origin: Origin) -> None:
        """Remember where the store is moved from."""
        async with self._unit() as session:
            await session.run(CREATE)
            await session.run(KEEP.format("%s"), attrs.astuple(origin))

    @asynccontextmanager
    async def _unit(self) -> AsyncIterator[Session]:
        if self._writer is None:
            raise RuntimeError("these tables were opened for reading")
        async with _session(self._writer, UNIT) as session:
            yield session
            await session.commit()


@attrs.frozen
class PostgresSnapshot:
    """All tables as of one moment."""

    _session: Session

    async def rows(self, table: Table) -> AsyncGenerator[list[Row], None]:
        """Yield the rows of a table in the order of their keys."""
        order = ", ".join(table.key)
        sql = f"SELECT {table.selected(_SHARES)} FROM {table.name} {_KEPT.get(table.name, '')} ORDER BY {order}"  # noqa: S608 - constant names
        await self._session.run(f"DECLARE moving NO SCROLL CURSOR FOR {sql}")
        changed = table.changed(_FROM)
        while found := await self._session.rows(f"FETCH {BLOCK} FROM moving", binary=True):
            yield [canonical(row, changed) for row in found]
        await self._session.run("CLOSE moving")

    async def count(self, table: Table) -> int:
        """Count the rows of a table."""
        sql = f"SELECT count(*) FROM {table.name} {_KEPT.get(table.name, '')}"  # noqa: S608 - as above
        ((count,),) = await self._session.rows(sql)
        return int(count)

    async def months(self) -> list[datetime]:
        """Return the beginnings of the months in which memories were stored."""
        rows = await self._session.rows("SELECT DISTINCT date_trunc('month', created_at, 'UTC') FROM memories_v2")
        return [first for (first,) in rows]

    async def standing(self) -> Standing:
        """Tell how far the store has come."""
        ((document, changes, audited),) = await self._session.rows(_STANDING)
        return Standing(document=document, changes=changes, audited=audited)


@asynccontextmanager
async def open_postgres_tables(url: str, *, writing: bool) -> AsyncIterator[PostgresTables]:
    """Open the tables of a database, which are never upgraded here.

    Raises:
        StorageUnavailable: there is no store in the database, or its schema is another one.
        StorageBusy: something else is moved there.
    """
    opener = Opener(url=url, statement_timeout=FOREVER)
    async with _connected(opener) as reader:
        async with _session(reader, SNAPSHOT) as session:
            check_schema(await _revision(session), HEAD, PART)
        if not writing:
            yield PostgresTables(reader, None)
            return
        async with _connected(opener) as writer:
            session = Session(writer)
            ((taken,),) = await session.rows("SELECT pg_try_advisory_lock(%s, 0)", (MOVES,))
            if not taken:
                raise StorageBusy(part=PART, reason="another process moves a store there", hint="Wait until it ends")
            yield PostgresTables(reader, writer)


async def found_origin(session: Session) -> Origin | None:
    """Tell where a store was moved from, or None."""
    ((there,),) = await session.rows("SELECT to_regclass(%s) IS NOT NULL", (TABLE,))
    return origin_of(await session.row(READ)) if there else None


@asynccontextmanager
async def _connected(opener: Opener) -> "AsyncIterator[psycopg.AsyncConnection[Row]]":
    connection = await opener.connect()
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _session(connection: "psycopg.AsyncConnection[Row]", begin: str) -> AsyncIterator[Session]:
    session = Session(connection, begin)
    session.see([ALL])
    try:
        yield session
    finally:
        await session.end()


async def _revision(session: Session) -> str | None:
    ((there,),) = await session.rows("SELECT to_regclass('alembic_version') IS NOT NULL")
    row = await session.row("SELECT version_num FROM alembic_version") if there else None
    return None if row is None else str(row[0])


async def _apply_memories(session: Session, gone: Sequence[Row], new: Sequence[Row]) -> None:
    former, added = [memory_of(row) for row in gone], [memory_of(row) for row in new]
    for memory in former:
        await turns.remove_text(session, memory.document)
    await _delete(session, MEMORIES, gone)
    model = list(MEMORIES.columns).index("model")
    for number in {row[model] for row in new}:
        some = [
            NewMemory(memory=memory, content_hash=row[-1], vector=None if number is None else _EMBEDDED)
            for row, memory in zip(new, added, strict=True)
            if row[model] == number
        ]
        insert_memories(session, [(each.memory.document, each) for each in some], number)
    if added:
        counts = await count_words([lexical_document(each.content) for each in added])
        texts = {each.document: (words, each) for each, words in zip(added, counts, strict=True)}
        await turns.add_texts(session, texts)
    if former:
        await turns.refresh(session, await turns.documents_behind(session, *((each.document, each) for each in former)))
    session.count(changes=1)


async def _forget_roles(session: Session) -> None:
    """Let no model have a role, nor an index, so that both can be given anew."""
    await session.run("UPDATE embedding_models SET active = false, role = NULL")
    sql = "SELECT indexname FROM pg_indexes WHERE tablename = 'embeddings' AND starts_with(indexname, %s)"
    for (name,) in await session.rows(sql, (INDEX,)):
        await session.run(f"DROP INDEX {name}")


async def _create_indexes(session: Session) -> None:
    """Index the vectors of each model that has some: at once takes half of the time of one by one."""
    sql = "SELECT id, dimension, active FROM embedding_models WHERE active OR role IS NOT NULL ORDER BY id"
    for number, dimension, active in await session.rows(sql):
        name = INDEX if active else f"{INDEX}_{number}"
        ((there,),) = await session.rows("SELECT to_regclass(%s) IS NOT NULL", (name,))
        if not there:
            await create_index(session, number, dimension, name)


async def _delete(session: Session, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        keys = [dict(zip(table.key, row, strict=False)) for row in rows]
        equal = " AND ".join(f"t.{name} = gone.{name}" for name in table.key)
        sql = f"""
            DELETE FROM {table.name} AS t USING json_populate_recordset(NULL::{table.name}, %s::json) AS gone
            WHERE {equal}
        """  # noqa: S608 - constant names
        await session.run(sql, (_json(keys),))


async def _insert(session: Session, table: Table, rows: Sequence[Row]) -> None:
    for row in rows:
        if any(isinstance(value, str) and "\0" in value for value in row):
            raise StorageUnavailable(
                part=PART,
                reason=f"a text of the row {row[: table.keys]} of {table.name} holds a zero byte, which it cannot keep",
                hint="Remove the row from the source: `tmws audit prune` shortens the audit log",
            )
    if rows:
        names = ", ".join(table.columns)
        taken = ", ".join(f"{each} = excluded.{each}" for each in list(table.columns)[table.keys :])
        sql = f"""
            INSERT INTO {table.name} ({names}) OVERRIDING SYSTEM VALUE
            SELECT {names} FROM json_populate_recordset(NULL::{table.name}, %s::json)
            ON CONFLICT ({", ".join(table.key)}) DO UPDATE SET {taken}
        """  # noqa: S608 - as above
        await session.run(sql, (_json([dict(zip(table.columns, row, strict=True)) for row in rows]),))


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return orjson.dumps(list(rows), default=_hexadecimal).decode()


def _hexadecimal(data: bytes) -> str:
    return rf"\x{data.hex()}"
