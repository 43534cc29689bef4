"""Holds the entries of the lexical index against the texts that they were made of, and writes anew what differs."""

import sqlite3
from functools import partial

import attrs

from tmws_adapters.sql.entries import BATCH, Batch, flaws_of, wrong_entries
from tmws_adapters.sqlite.checks import OTHER_WORDS
from tmws_adapters.sqlite.connections import Connections
from tmws_adapters.sqlite.readers import words_of
from tmws_adapters.sqlite.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.sqlite.turns import insert_texts
from tmws_core.domain.memory import Memory
from tmws_core.ports.health import Flaw, Read, Reindexed

_MEMORIES = f"{SELECT_MEMORIES} WHERE m.document > ? ORDER BY m.document LIMIT {BATCH}"

_ENTRY = "SELECT text, previous, before_previous, readers FROM memories_fts WHERE rowid = ?"

_REMOVE_LEFT = """
    DELETE FROM memories_fts WHERE rowid IN (
        SELECT id FROM memories_fts_docsize AS entry
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.document = entry.id)
    )
"""

_CHANGED = "UPDATE document_numbers SET changes = changes + 1, edits = edits + 1"
"""What is known of an entry by its number is so no more."""

_KIND = 0xFF
"""The bits of SQLite's extended codes that say what kind of error it is."""


@attrs.frozen
class _Held:
    """What the index was given of a document."""

    text: str
    previous: str
    before_previous: str
    readers: str

    def is_of(self, memory: Memory, own: str) -> bool:
        """Tell whether it is what belongs to a memory; what a turn borrows may be what versions before lent."""
        alone = not self.previous and not self.before_previous
        return self.text == own and self.readers == words_of(memory) and (alone or memory.is_turn)


async def flaws(connections: Connections, read: Read) -> list[Flaw]:
    """Return what is wrong with the words of the lexical index.

    Others wait with their writes while FTS5 compares its words with the texts that it was given, as it does so in a
    statement for changes: 4 s for 100,000 memories. Since SQLite 3.44 `PRAGMA integrity_check` does the same.
    """
    found = []
    if sqlite3.sqlite_version_info < (3, 44):
        async with connections.writing() as session:
            if not await session.run(_is_sound):
                found.append(OTHER_WORDS)
    wrong = wrong_entries(partial(_batch, connections), str, read)
    return [*found, *flaws_of([memory.id async for memory, _, held in wrong if held])]


async def reindex(connections: Connections, read: Read) -> Reindexed:
    """Take the texts of the index apart again if it has other words, and make them those of the memories."""
    async with connections.writing() as session:
        removed = await session.run(_rebuild)
    written = 0
    async for memory, text, _ in wrong_entries(partial(_batch, connections), str, read):
        async with connections.writing() as session:
            written += await session.run(partial(_rewrite, memory, text))
    return Reindexed(written=written, removed=removed)


def _is_sound(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("INSERT INTO memories_fts (memories_fts) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & _KIND != sqlite3.SQLITE_CORRUPT:
            raise
        return False
    return True


def _rebuild(connection: sqlite3.Connection) -> int:
    """Let FTS5 take its texts apart again if it has other words, and return how many entries no memory had."""
    sound = _is_sound(connection)
    if not sound:
        connection.execute("INSERT INTO memories_fts (memories_fts) VALUES ('rebuild')")
    removed = connection.execute(_REMOVE_LEFT).rowcount
    if removed or not sound:
        connection.execute(_CHANGED)
    return removed


def _rewrite(memory: Memory, text: str, connection: sqlite3.Connection) -> bool:
    """Write the entry of a memory, and of the turns behind it, unless it has another text by now, or is gone."""
    row = connection.execute(f"{SELECT_MEMORIES} WHERE m.document = ?", (memory.document,)).fetchone()
    if row is None:
        return False
    connection.execute("DELETE FROM memories_fts WHERE rowid = ?", (memory.document,))
    insert_texts(connection, [(memory.document, text, FORMS.memory(row))])
    connection.execute(_CHANGED)
    return True


async def _batch(connections: Connections, last: int) -> Batch[str]:
    def work(connection: sqlite3.Connection) -> Batch[str]:
        memories = [FORMS.memory(row) for row in connection.execute(_MEMORIES, (last,)).fetchall()]
        rows = {each.document: connection.execute(_ENTRY, (each.document,)).fetchone() for each in memories}
        return memories, {document: _Held(*row) for document, row in rows.items() if row is not None}

    async with connections.lookups.session() as session:
        return await session.run(work)
