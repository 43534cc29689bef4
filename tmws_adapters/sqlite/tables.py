"""The tables of a SQLite file, for moving house."""

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import attrs
import orjson

from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.belonging import looked_at
from tmws_adapters.sql.origin import CREATE, KEEP, READ, TABLE, check_schema, origin_of
from tmws_adapters.sql.tables import (
    EMBEDDINGS,
    MEMORIES,
    MODELS,
    Form,
    Origin,
    Row,
    Standing,
    Table,
    canonical,
    memory_of,
    roles_changed,
)
from tmws_adapters.sql.times import from_rfc3339, rfc3339
from tmws_adapters.sqlite.connections import Opener
from tmws_adapters.sqlite.errors import PART, translated
from tmws_adapters.sqlite.presence import OpenFile
from tmws_adapters.sqlite.rows import insert_shares
from tmws_adapters.sqlite.times import microseconds, moment
from tmws_adapters.sqlite.turns import insert_texts, refresh_behind
from tmws_core.domain.text import lexical_document

T = TypeVar("T")

BLOCK = 500
"""Rows that are read together: at most 32 MB of contents, mostly less than one."""

BUSY_TIMEOUT = timedelta(seconds=30)
"""How long a move waits for another process that writes to the file; units of work last for milliseconds."""

VECTORS = {"active": "embeddings", "next": "embeddings_next", "former": "embeddings_former"}
"""The table that holds the vectors of the model in a role."""

_SHARES = """
    (SELECT json_group_array(json_array(agent_id, permission)) FROM (
        SELECT agent_id, permission FROM memory_shares WHERE memory_id = memories_v2.id ORDER BY rowid
    ))
"""

_FROM: dict[Form, Callable[[Any], Any]] = {
    Form.FLAG: bool,
    Form.TIME: moment,
    Form.STAMP: lambda text: from_rfc3339(text).astimezone(UTC),
    Form.WORDS: lambda text: tuple(orjson.loads(text)),
    Form.SHARES: lambda text: tuple(tuple(pair) for pair in orjson.loads(text)),
}

_INTO: dict[Form, Callable[[Any], Any]] = {
    Form.TIME: microseconds,
    Form.STAMP: rfc3339,
    Form.WORDS: lambda words: orjson.dumps(words).decode(),
}


@attrs.frozen
class SqliteTables:
    """A Tables over one connection for reading and one for writing."""

    _reader: sqlite3.Connection
    _writer: sqlite3.Connection | None
    _file: OpenFile

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["SqliteSnapshot"]:
        """Begin to read; one at a time."""
        await _run(lambda: self._reader.execute("BEGIN"))
        try:
            yield SqliteSnapshot(self._reader)
        finally:
            self._reader.rollback()

    async def prepare(self, months: Sequence[datetime]) -> None:
        """Do nothing: a file has no partitions."""

    async def apply(self, table: Table, gone: Sequence[Row], new: Sequence[Row]) -> None:
        """Put rows in the place of others in one transaction; both may hold rows of one key."""
        await self._write(lambda connection: _apply(connection, table, gone, new))

    async def finish(self, document: int) -> None:
        """Give no document a number up to this one again."""
        sql = "UPDATE document_numbers SET last = max(last, ?), changes = changes + 1, edits = edits + 1"
        await self._write(lambda connection: connection.execute(sql, (document,)))

    async def origin(self) -> Origin | None:
        """Tell where the store was moved from, or None."""
        return await _run(lambda: found_origin(self._reader))

    async def keep_origin(self, origin: Origin) -> None:
        """Remember where the store is moved from."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(CREATE)
            connection.execute(KEEP.format("?"), attrs.astuple(origin))

        await self._write(work)

    async def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        connection = self._writer
        if connection is None:
            raise RuntimeError("these tables were opened for reading")

        def run() -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                work(connection)
                connection.execute("COMMIT")
                self._file.check()
            except BaseException:
                connection.rollback()
                raise

        await _run(run)


@attrs.frozen
class SqliteSnapshot:
    """All tables as of one moment."""

    _connection: sqlite3.Connection

    async def rows(self, table: Table) -> AsyncGenerator[list[Row], None]:
        """Yield the rows of a table in the order of their keys."""
        found = await _run(lambda: self._found(table))
        changed = table.changed(_FROM)
        while block := await _run(lambda: [canonical(row, changed) for row in islice(found, BLOCK)]):
            yield block

    async def count(self, table: Table) -> int:
        """Count the rows of a table."""
        names = [name for _, name in self._parts()] if table is EMBEDDINGS else [table.name]
        questions = [f"SELECT count(*) FROM {name}" for name in names]  # noqa: S608 - constant names
        return await _run(lambda: sum(self._connection.execute(each).fetchone()[0] for each in questions))

    async def months(self) -> list[datetime]:
        """Return the beginnings of the months in which memories were stored."""
        sql = "SELECT DISTINCT strftime('%Y-%m-01T00:00:00Z', created_at / 1000000, 'unixepoch') FROM memories_v2"
        rows = await _run(lambda: self._connection.execute(sql).fetchall())
        return [from_rfc3339(first) for (first,) in rows]

    async def standing(self) -> Standing:
        """Tell how far the store has come."""
        sql = "SELECT last, changes, coalesce((SELECT last FROM audit_head), 0) FROM document_numbers"
        ((document, changes, audited),) = await _run(lambda: self._connection.execute(sql).fetchall())
        return Standing(document=document, changes=changes, audited=audited)

    def _found(self, table: Table) -> Iterator[tuple[Any, ...]]:
        names = table.selected(_SHARES)
        if table is not EMBEDDINGS:
            sql = f"SELECT {names} FROM {table.name} ORDER BY {', '.join(table.key)}"  # noqa: S608 - constant names
            return iter(self._connection.execute(sql))
        return chain.from_iterable(
            self._connection.execute(f"SELECT {names} FROM {name} WHERE model = ? ORDER BY document", (model,))  # noqa: S608 - as above
            for model, name in self._parts()
        )

    def _parts(self) -> list[tuple[int, str]]:
        """Return the models that have vectors, ascending, with the table that holds them."""
        return _parts(self._connection)


@asynccontextmanager
async def open_sqlite_tables(path: Path, *, writing: bool) -> AsyncIterator[SqliteTables]:
    """Open the tables of a file, which are never upgraded here.

    Raises:
        StorageUnavailable: there is no store in the file, or its schema is another one.
    """
    if not await anyio.Path(path).exists():
        check_schema(None, HEAD, PART)
    with translated():
        revision = await anyio.to_thread.run_sync(looked_at, path, _revision, BUSY_TIMEOUT.total_seconds())
    check_schema(revision, HEAD, PART)
    opener = Opener(path=path, busy_timeout=BUSY_TIMEOUT, synchronous="NORMAL")
    with closing(opener.reader()) as reader:
        if not writing:
            yield SqliteTables(reader, None, opener.file)
            return
        with closing(opener.writer()) as writer:
            # Nothing follows what it refers to out of the store: each table says itself which of its rows are gone.
            writer.execute("PRAGMA foreign_keys = OFF")
            # Nobody else has this file open: SQLite copies its log by itself, or that would be as large as the store.
            writer.execute("PRAGMA wal_autocheckpoint = 1000")
            yield SqliteTables(reader, writer, opener.file)


def found_origin(connection: sqlite3.Connection) -> Origin | None:
    """Tell where a store was moved from, or None."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (TABLE,)).fetchone():
        return None
    return origin_of(connection.execute(READ).fetchone())


def _revision(connection: sqlite3.Connection) -> str | None:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchone():
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _parts(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    sql = "SELECT id, CASE active WHEN 1 THEN 'active' ELSE role END FROM embedding_models ORDER BY id"
    return [(number, VECTORS[role]) for number, role in connection.execute(sql) if role is not None]


def _apply(connection: sqlite3.Connection, table: Table, gone: Sequence[Row], new: Sequence[Row]) -> None:
    if table is MEMORIES:
        _apply_memories(connection, gone, new)
        return
    if table is MODELS and roles_changed(gone, new):
        connection.execute("UPDATE embedding_models SET active = 0, role = NULL")
        for name in VECTORS.values():
            connection.execute(f"DELETE FROM {name}")  # noqa: S608 - a constant name
    if table is EMBEDDINGS:
        for model, name in _parts(connection):
            _replace(
                connection,
                table,
                name,
                [row for row in gone if row[0] == model],
                [row for row in new if row[0] == model],
            )
        return
    _replace(connection, table, table.name, gone, new)


def _apply_memories(connection: sqlite3.Connection, gone: Sequence[Row], new: Sequence[Row]) -> None:
    former = [memory_of(row) for row in gone]
    for memory in former:
        connection.execute("DELETE FROM memories_fts WHERE rowid = ?", (memory.document,))
        connection.execute("DELETE FROM memory_shares WHERE memory_id = ?", (memory.id,))
    _replace(connection, MEMORIES, MEMORIES.name, gone, new)
    added = [memory_of(row) for row in new]
    for memory in added:
        insert_shares(connection, memory)
    insert_texts(connection, [(memory.document, lexical_document(memory.content), memory) for memory in added])
    refresh_behind(connection, *((memory.document, memory) for memory in former))


def _replace(connection: sqlite3.Connection, table: Table, name: str, gone: Sequence[Row], new: Sequence[Row]) -> None:
    where = " AND ".join(f"{column} = ?" for column in table.key)
    connection.executemany(f"DELETE FROM {name} WHERE {where}", [row[: table.keys] for row in gone])  # noqa: S608 - constant names
    columns = [column for column, form in table.columns.items() if form is not Form.SHARES]
    kept = [(place, _INTO.get(form)) for place, form in enumerate(table.columns.values()) if form is not Form.SHARES]
    values = [
        [row[place] if form is None or row[place] is None else form(row[place]) for place, form in kept] for row in new
    ]
    # What every store has from the beginning, such as the end of the audit log, is there already.
    sql = f"INSERT OR REPLACE INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - as above
    connection.executemany(sql, values)


async def _run(work: Callable[[], T]) -> T:
    def run() -> T:
        with translated():
            return work()

    return await anyio.to_thread.run_sync(run)
