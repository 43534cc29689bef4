"""What a store is after a power cut: a copy of its files as they were at one moment, with a part of the log missing."""

import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.faults.clients import Program, moment, program, until_more
from tests.faults.journal import ROUNDS, Journal, check, note, notes, settings_of
from tests.faults.log import Log, beside
from tmws_adapters.bootstrap import open_app
from tmws_core.messages.memory import CreateMemory

pytestmark = [pytest.mark.anyio, pytest.mark.embedded("the write-ahead log is cut")]

NOTES = 100_000
"""More than anybody writes in the time."""


def whole(log: Path, end: int, _: random.Random) -> None:
    os.truncate(log, end)


def torn(log: Path, end: int, chance: random.Random) -> None:
    """Cut off in the middle of the next frame."""
    os.truncate(log, end + chance.randrange(1, 4096))


def garbage_behind(log: Path, end: int, chance: random.Random) -> None:
    os.truncate(log, end)
    with log.open("ab") as file:
        file.write(chance.randbytes(chance.randrange(1, 20_000)))


def zeros_behind(log: Path, end: int, _: random.Random) -> None:
    """Let the file be as long as it was, without what was in it."""
    length = log.stat().st_size
    os.truncate(log, end)
    os.truncate(log, length)


def a_broken_frame(log: Path, end: int, chance: random.Random) -> None:
    """Leave the frames behind the next one whole: they must not count."""
    with log.open("r+b") as file:
        file.seek(end + chance.randrange(4096))
        file.write(chance.randbytes(8))


DAMAGES = [whole, torn, garbage_behind, zeros_behind, a_broken_frame]


@attrs.frozen
class Copy:
    """A writer's files as they were at one moment, and what their log was."""

    home: Path
    log: Log


def copy_of(writing: Program, home: Path, copy: Path) -> Copy:
    """Copy the files while the writer stands still; the index of the log does not survive a power cut."""
    os.kill(writing.process.pid, signal.SIGSTOP)
    os.waitpid(writing.process.pid, os.WUNTRACED)
    copy.mkdir()
    shutil.copy(home / "tmws.db", copy)
    shutil.copy(beside(home / "tmws.db", "wal"), copy)
    log = Log.of(home / "tmws.db")
    os.kill(writing.process.pid, signal.SIGCONT)
    return Copy(copy, log)


def durable(entries: list[dict[str, Any]], log: Log, frame: int) -> list[dict[str, Any]]:
    """Return what was committed in that many frames of a log, and in the logs before it."""
    salts = [entry["place"][0] for entry in entries]
    begun = salts.index(log.salt)
    return entries[:begun] + [entry for entry in entries[begun:] if entry["place"] <= [log.salt, frame]]


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_all_that_was_committed_before_the_log_ends_is_there_and_nothing_else(
    home: Path, tmp_path: Path, chance: random.Random, embedding: dict[str, str], round_: int
) -> None:
    writer = f"round{round_}"
    with program(home, writer, NOTES, **embedding) as writing:
        writing.start()
        copies = []
        for damage in DAMAGES:
            until_more(writing.lines)
            moment(chance, 0.3)
            copies.append(copy_of(writing, home, tmp_path / damage.__name__))
        until_more(writing.lines, 3)
        entries = writing.kill()

    for damage, copy in zip(DAMAGES, copies, strict=True):
        frame = chance.randint(copy.log.copied, copy.log.frames)
        damage(beside(copy.home / "tmws.db", "wal"), copy.log.end_of(frame), chance)
        kept = durable(entries, copy.log, frame)
        settings, journal = settings_of(copy.home, **embedding), Journal()
        for entry in kept:
            journal.acknowledge(entry["id"], note(writer, entry["number"]))
        # One more may have been committed before its writer could say so.
        sent = notes(writer, len(kept) + 1)
        assert await check(settings, journal, sent, chance) <= 1
        async with open_app(settings) as app:
            content = f"Written after the power was back, frame {frame}."
            created = await app.call(settings.operator(), CreateMemory(content=content))
        journal.acknowledge(created.memory_id, content)
        assert await check(settings, journal, {*sent, content}, chance) <= 1
