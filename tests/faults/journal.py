"""What clients wrote down of the answers that they read, and whether a store keeps to it."""

import os
import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import attrs

from tests.licences import UNLIMITED
from tests.stacks import stacked
from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import Settings, load_settings
from tmws_core.app import App
from tmws_core.messages.memory import ALL, GetMemory, ListMemories
from tmws_core.messages.search import SearchMemories, SearchMode

ROUNDS = int(os.environ.get("TMWS_FAULT_ROUNDS", "3"))
"""How often each test of a random moment is repeated; a hundred rounds take 25 minutes."""

WRITES = int(os.environ.get("TMWS_FAULT_WRITES", "60"))
"""What each of many clients writes."""

SAMPLE = 50
"""Memories that are read and searched for one by one, of all that are listed."""

WORDS = 400
"""The longest note; some take one page of the file and some several."""


def note(writer: str, number: int) -> str:
    """Return the text that a writer sends: each is another one, and is found by its first word."""
    chance = random.Random(f"{writer} {number}")
    words = (f"word{chance.randrange(5000)}" for _ in range(chance.randrange(1, WORDS)))
    return f"{writer}n{number} {' '.join(words)}"


def notes(writer: str, count: int) -> set[str]:
    return {note(writer, number) for number in range(count)}


@attrs.define
class Journal:
    """What was acknowledged, by id, each entry made after its answer was read; threads may share it."""

    entries: dict[str, str] = attrs.Factory(dict)

    def acknowledge(self, memory_id: str, content: str) -> None:
        assert self.entries.setdefault(memory_id, content) == content


def settings_of(home: Path, **variables: str) -> Settings:
    return load_settings(stacked({"TMWS_HOME": str(home), **UNLIMITED, **variables}), dotenv=None)


async def check(settings: Settings, journal: Journal, sent: Iterable[str], chance: random.Random) -> int:
    """Check that all that was acknowledged is there, once and whole, and nothing that was never sent.

    Returns the number of memories that nobody was told of.
    """
    if not settings.uses_postgres:
        assert problems(settings.sqlite_path) == ["ok"]
    async with open_parts(settings) as parts:
        assert await parts.storage.integrity() == []
        assert (await parts.auditing.verify()).breach is None
        app = compose(settings, parts)
        stored = await everything(app, settings)
        missing = journal.entries.items() - stored.items()
        assert not missing
        assert len(set(stored.values())) == len(stored)
        assert set(stored.values()) <= set(sent)
        await check_some(app, settings, journal, chance)
    return len(stored) - len(journal.entries)


def problems(path: Path) -> list[str]:
    """Return what SQLite says of a file."""
    with closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("PRAGMA integrity_check")]


async def everything(app: App, settings: Settings) -> dict[str, str]:
    """Return the contents of a store, by id."""
    caller = settings.operator()
    stored: dict[str, str] = {}
    cursor: str | None = None
    while True:
        page = await app.call(caller, ListMemories(limit=100, cursor=cursor, oldest_first=True, max_chars=ALL))
        for memory in page.memories:
            assert memory.memory_id not in stored
            stored[memory.memory_id] = memory.content
        cursor = page.next_cursor
        if cursor is None:
            return stored


async def check_some(app: App, settings: Settings, journal: Journal, chance: random.Random) -> None:
    """Check that what was acknowledged is found by its id and by its first word."""
    caller = settings.operator()
    entries = sorted(journal.entries.items())
    for memory_id, content in chance.sample(entries, min(SAMPLE, len(entries))):
        found = await app.call(caller, GetMemory(memory_id=memory_id, max_chars=ALL))
        assert found.memory.content == content
        query = SearchMemories(query=content.split()[0], mode=SearchMode.LEXICAL)
        assert [hit.memory_id for hit in (await app.call(caller, query)).results] == [memory_id]
