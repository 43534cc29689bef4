"""Clients that keep a journal: processes that use the library, and agent terminals."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.faults.journal import Journal, note
from tests.shells.owners import place_in, until
from tests.shells.serving import PATIENCE, Conversation, conversation, environment, tool
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.record import Record, read

SECONDS = 240
"""How long many writers may take together on a busy machine."""


@attrs.define
class Program:
    """A program that uses the library; `lines` are what it has said since it was started."""

    process: "subprocess.Popen[str]"
    lines: list[str] = attrs.Factory(list)
    _reader: threading.Thread | None = None

    def start(self) -> None:
        """Let it open the store; what it says is read at once, since a full pipe would hold it up."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self._reader = threading.Thread(target=self.lines.extend, args=(self.process.stdout,))
        self._reader.start()

    def kill(self) -> list[dict[str, Any]]:
        """Kill it, and return what it has acknowledged."""
        self.process.kill()
        return self._acknowledged()

    def finish(self) -> list[dict[str, Any]]:
        """Wait for its end, and return what it has acknowledged."""
        acknowledged = self._acknowledged()
        assert self.process.stderr
        said = self.process.stderr.read()
        assert (self.process.wait(PATIENCE), said) == (0, "")
        return acknowledged

    def _acknowledged(self) -> list[dict[str, Any]]:
        assert self._reader is not None
        self._reader.join(SECONDS)
        assert not self._reader.is_alive()
        # The last line may have been cut off by its death.
        return [json.loads(line) for line in self.lines if line.endswith("\n")]


@contextmanager
def program(home: Path, writer: str, count: int, **settings: str) -> Iterator[Program]:
    """Run a program that writes notes, up to the moment before it opens the store."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.writing", writer, str(count)],
        cwd=home,
        env=environment(home, **settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == '"ready"\n'
            yield Program(process)
        finally:
            process.kill()


@attrs.define
class Terminal:
    """An agent terminal that writes notes one after the other.

    Every other note has an idempotency key. `unknown` are those of which it was told that nobody knows.
    """

    home: Path
    writer: str
    settings: dict[str, str]
    journal: Journal
    unknown: list[str] = attrs.Factory(list)
    said: str = ""

    def write(self, numbers: Iterable[int]) -> None:
        with conversation(self.home, **self.settings) as terminal:
            for number in numbers:
                self._write(terminal, number)
            _, said = terminal.process.communicate(timeout=PATIENCE)
            self.said = said.decode()
            assert terminal.process.returncode == 0, self.said

    def _write(self, terminal: Conversation, number: int) -> None:
        content = note(self.writer, number)
        key = {"idempotency_key": content[:100]} if number % 2 else {}
        answer = terminal.ask(tool(number, "create_memory", content=content, **key))
        assert "result" in answer, answer
        body = answer["result"]["structuredContent"]
        if body["success"]:
            self.journal.acknowledge(body["memory_id"], content)
        else:
            assert (body["error"]["code"], bool(key)) == ("outcome_unknown", False), answer
            self.unknown.append(content)


def until_stopped(stop: threading.Event, numbers: Sequence[int]) -> Iterator[int]:
    for number in numbers:
        if stop.is_set():
            return
        yield number


def until_more(kept: Sized, number: int = 1, *, than: int | None = None) -> None:
    """Wait until so many more are kept than now, or than there were."""
    wanted = (len(kept) if than is None else than) + number
    until(lambda: len(kept) >= wanted)


def moment(chance: random.Random, seconds: float) -> None:
    """Let a random time pass, of at most so many seconds, before a fault."""
    time.sleep(chance.uniform(0, seconds))


def running_owner(home: Path, *but: int) -> Record:
    """Wait for an owner that is none of those processes."""
    place = place_in(home)
    found: list[Record] = []

    def look() -> bool:
        record = read(place.record) if is_taken(place.lock) else None
        if record is not None and record.pid not in but:
            found.append(record)
        return bool(found)

    until(look)
    return found[0]
