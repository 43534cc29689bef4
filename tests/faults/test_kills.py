"""What is left of acknowledged memories when a process is killed at a random moment."""

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contracts.ollama_double import OllamaDouble
from tests.faults.clients import Terminal, moment, program, running_owner, until_more, until_stopped
from tests.faults.journal import ROUNDS, Journal, check, note, notes, settings_of
from tests.shells.owners import is_owned, until
from tests.shells.serving import PATIENCE
from tests.stacks import rows
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.messages.memory import ALL, CreateMemories, CreateMemory
from tmws_core.messages.search import SearchMemories, SearchMode

pytestmark = pytest.mark.anyio

KILLS = 3
TEXTS = 600
MANY = 100_000
"""More notes than anybody writes before it is killed."""


def waiting(settings: Settings) -> int:
    """Count the texts without a vector."""
    [[number]] = rows(settings, "SELECT count(*) FROM memories_v2 WHERE model IS NULL")
    return int(number)


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_a_program_that_is_killed_loses_nothing_acknowledged(
    tmp_path: Path, chance: random.Random, embedding: dict[str, str], round_: int
) -> None:
    journal = Journal()
    sent: set[str] = set()
    for kill in range(KILLS):
        writer = f"round{round_}kill{kill}"
        with program(tmp_path, writer, MANY, **embedding) as writing:
            writing.start()
            # From before the file is there to well into the writing.
            moment(chance, 1.5)
            entries = writing.kill()
        for entry in entries:
            journal.acknowledge(entry["id"], note(writer, entry["number"]))
        sent |= notes(writer, len(entries) + 1)

    assert await check(settings_of(tmp_path, **embedding), journal, sent, chance) <= KILLS


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_an_owner_that_is_killed_under_load_takes_no_answer_back(
    home: Path, chance: random.Random, embedding: dict[str, str], round_: int
) -> None:
    journal, stop = Journal(), threading.Event()
    writers = [f"round{round_}terminal{number}" for number in range(4)]
    terminals = [Terminal(home, writer, embedding, journal) for writer in writers]
    killed: list[int] = []
    with ThreadPoolExecutor(len(terminals)) as threads:
        working = [threads.submit(each.write, until_stopped(stop, range(MANY))) for each in terminals]
        try:
            for _ in range(KILLS):
                owner = running_owner(home, *killed)
                if chance.random() < 0.7:  # else it dies while it opens the store
                    until_more(journal.entries)
                moment(chance, 0.5)
                os.kill(owner.pid, signal.SIGKILL)
                killed.append(owner.pid)
            until_more(journal.entries, 2 * len(terminals))
        finally:
            stop.set()
        for each in working:
            each.result(PATIENCE)
    until(lambda: not is_owned(home))

    unknown = [content for each in terminals for content in each.unknown]
    assert len(unknown) <= KILLS * len(terminals)
    sent = {*journal.entries.values(), *unknown}
    assert await check(settings_of(home, **embedding), journal, sent, chance) <= len(unknown)


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_texts_get_their_vectors_however_often_the_work_in_the_background_is_killed(
    tmp_path: Path, chance: random.Random, embedding: dict[str, str], ollama: OllamaDouble, round_: int
) -> None:
    settings, journal = settings_of(tmp_path, **embedding), Journal()
    contents = sorted(notes(f"round{round_}", TEXTS))
    ollama.stop()
    async with open_app(settings) as app:
        request = CreateMemories(memories=tuple(CreateMemory(content=content) for content in contents))
        created = await app.call(settings.operator(), request)
    for result, content in zip(created.results, contents, strict=True):
        assert not result.embedding_generated
        journal.acknowledge(result.memory_id, content)
    ollama.start()

    for _ in range(KILLS):
        if not waiting(settings):
            break
        asked = len(ollama.requests)
        with program(tmp_path, "nobody", 0, **embedding) as working:
            working.start()
            until_more(ollama.requests, than=asked)
            moment(chance, 0.15)
            working.kill()
    with program(tmp_path, "nobody", 0, **embedding) as working:
        working.start()
        until(lambda: not waiting(settings))

    assert await check(settings, journal, contents, chance) == 0
    async with open_app(settings) as app:
        for content in chance.sample(contents, 20):
            query = SearchMemories(query=content, mode=SearchMode.SEMANTIC, limit=1, explain=True, max_chars=ALL)
            [hit] = (await app.call(settings.operator(), query)).results
            assert hit.content == content
            assert hit.similarity == pytest.approx(1.0, abs=1e-3)
