"""Holds the entries of the lexical index against the texts that they were made of, and writes anew what differs."""

from collections import Counter
from functools import partial

import attrs

from tmws_adapters.postgres import turns
from tmws_adapters.postgres.connections import Connections
from tmws_adapters.postgres.locks import lock_owners
from tmws_adapters.postgres.readers import ALL, readers_of
from tmws_adapters.postgres.rows import FORMS, SELECT_MEMORIES
from tmws_adapters.postgres.turns import LARGEST, OWN, Entry
from tmws_adapters.postgres.words import counts_of
from tmws_adapters.sql.entries import BATCH, Batch, flaws_of, wrong_entries
from tmws_core.domain.memory import Memory
from tmws_core.ports.health import Flaw, Read, Reindexed

_MEMORIES = f"{SELECT_MEMORIES} WHERE m.document > %s ORDER BY m.document LIMIT {BATCH}"

_ENTRIES = f"""
    SELECT entry.document, entry.words, entry.counts, entry.tokens, entry.readers, (
        SELECT count(*) FROM unnest(entry.words || entry.readers, entry.counts) AS own (word, count)
        JOIN memory_postings AS p ON p.word = own.word AND p.document = entry.document
        WHERE p.tokens = least(entry.tokens, {LARGEST})
            AND p.frequency >= least({OWN} * coalesce(own.count, 0), {LARGEST})
    )
    FROM memory_words AS entry WHERE entry.document = ANY(%s::bigint[])
"""  # noqa: S608 - numbers are constants, values are bound
"""The entries of documents, with how many of their words and readers lead to them."""

_LEFT = """
    SELECT document FROM memory_words AS entry
    WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.document = entry.document) ORDER BY document
"""

_SWEEP = """
    DELETE FROM memory_postings AS p WHERE NOT EXISTS (
        SELECT 1 FROM memory_words AS entry CROSS JOIN LATERAL unnest(entry.words || entry.readers) AS named (word)
        WHERE entry.document = p.document AND named.word = p.word
    )
"""
"""An entry and what leads to it are always changed in one transaction, so nothing of a running one is swept."""

_COUNT = """
    UPDATE memory_changes SET documents = memory_changes.documents + held.documents - counted.documents,
        tokens = memory_changes.tokens + held.tokens - counted.tokens
    FROM (SELECT count(*) AS documents, coalesce(sum(tokens), 0) AS tokens FROM memory_words) AS held,
        (SELECT sum(documents) AS documents, sum(tokens) AS tokens FROM memory_changes) AS counted
    WHERE slot = 0 AND (held.documents, held.tokens) <> (counted.documents, counted.tokens)
"""


@attrs.frozen
class _Held:
    """What the index holds of a document, and how many of its words and readers lead to it."""

    entry: Entry
    found: int

    def is_of(self, memory: Memory, own: Counter[str]) -> bool:
        """Tell whether it is what belongs to a memory whose text has these words.

        What a turn borrows is only counted: versions before lent more.
        """
        entry = self.entry
        borrowed = entry.tokens - own.total()
        return (
            entry.own == own
            and (borrowed >= 0 if memory.is_turn else borrowed == 0 and len(own) == len(entry.counts))
            and {*entry.readers} == {*readers_of(memory)}
            and self.found == len(entry.counts) + len(entry.readers)
        )


async def flaws(connections: Connections, read: Read) -> list[Flaw]:
    """Return what is wrong with the words of the memories that have an entry."""
    wrong = wrong_entries(partial(_batch, connections), counts_of, read)
    return flaws_of([memory.id async for memory, _, held in wrong if held])


async def reindex(connections: Connections, read: Read) -> Reindexed:
    """Remove what no memory has from the index, and write the entries anew that differ from their texts."""
    removed = await _remove_left(connections)
    async with connections.unit() as session:
        session.see([ALL])
        removed += await session.run(_SWEEP)
        if removed:
            session.count(changes=1)
    written = 0
    async for memory, own, _ in wrong_entries(partial(_batch, connections), counts_of, read):
        written += await _rewrite(connections, memory, own)
    async with connections.unit() as session:
        session.see([ALL])
        await session.run(_COUNT)
    return Reindexed(written=written, removed=removed)


async def _remove_left(connections: Connections) -> int:
    """Remove the entries that no memory has, which nobody changes any more, and return how many there were."""
    async with connections.snapshot() as session:
        session.see([ALL])
        left = [document for (document,) in await session.rows(_LEFT)]
    for document in left:
        async with connections.unit() as session:
            session.see([ALL])
            await turns.remove_text(session, document)
    return len(left)


async def _rewrite(connections: Connections, memory: Memory, own: Counter[str]) -> bool:
    """Write the entry of a memory, and of the turns behind it, unless it has another text by now, or is gone."""
    async with connections.unit() as session:
        session.see([ALL])
        lock_owners(session, [memory.agent_id])
        row = await session.row(f"{SELECT_MEMORIES} WHERE m.document = %s", (memory.document,))
        if row is None:
            return False
        await turns.remove_text(session, memory.document)
        await turns.add_texts(session, {memory.document: (own, FORMS.memory(row))})
        session.count(changes=1)
    return True


async def _batch(connections: Connections, last: int) -> Batch[Counter[str]]:
    async with connections.snapshot() as session:
        session.see([ALL])
        memories = [FORMS.memory(row) for row in await session.rows(_MEMORIES, (last,))]
        rows = await session.rows(_ENTRIES, ([memory.document for memory in memories],))
    held = {
        document: _Held(Entry(dict(zip(words, counts, strict=False)), tokens, readers), found)
        for document, words, counts, tokens, readers, found in rows
    }
    return memories, held
