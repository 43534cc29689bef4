"""Many clients that write at the same time: nothing is lost, and nobody hears of a lock."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.clients import SECONDS, Terminal, program, running_owner
from tests.faults.journal import WRITES, Journal, check, note, notes, settings_of
from tests.shells.owners import log_of

pytestmark = pytest.mark.anyio

CLIENTS = 8


async def test_terminals_that_write_through_one_owner_lose_nothing(
    home: Path, chance: random.Random, embedding: dict[str, str]
) -> None:
    journal = Journal()
    terminals = [Terminal(home, f"terminal{number}", embedding, journal) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        working = [threads.submit(each.write, range(WRITES)) for each in terminals]
        owner = running_owner(home)
        for each in working:
            each.result(SECONDS)

    assert len(journal.entries) == CLIENTS * WRITES
    assert [each.unknown for each in terminals] == [[]] * CLIENTS
    assert [each.said for each in terminals] == [""] * CLIENTS
    assert owner.kind == "owner"
    assert "lock" not in log_of(home)
    sent = set().union(*(notes(each.writer, WRITES) for each in terminals))
    assert await check(settings_of(home, **embedding), journal, sent, chance) == 0


async def test_programs_that_open_the_file_themselves_lose_nothing(
    home: Path, chance: random.Random, embedding: dict[str, str]
) -> None:
    journal = Journal()
    writers = [f"program{number}" for number in range(CLIENTS)]
    with ExitStack() as stack:
        programs = [stack.enter_context(program(home, writer, WRITES, **embedding)) for writer in writers]
        for each in programs:
            each.start()
        for writer, each in zip(writers, programs, strict=True):
            for entry in each.finish():
                journal.acknowledge(entry["id"], note(writer, entry["number"]))

    assert len(journal.entries) == CLIENTS * WRITES
    sent = set().union(*(notes(writer, WRITES) for writer in writers))
    assert await check(settings_of(home, **embedding), journal, sent, chance) == 0
