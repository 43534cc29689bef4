"""What it costs to be told "stored" when that means durable, and whether it is true.

    python -m tests.benchmarks.durability [ROUNDS]

Each round has a data directory of its own, and in turn: one client in the process beside plain sqlite3, which stores
row, lexical entry and vector of the same text in one durable transaction; eight clients in the process; and eight agent
terminals with one owner process. Every client asks again as soon as it is answered. Then the rows are counted of which
a client was told. Vectors are made from hashed words, so that no embedding is in any figure; `fsync` is 4 KiB written
and synced, alone. Times are milliseconds, and every figure is the median of the rounds.
"""

import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs

from tests.benchmarks.corpus import SEED, HashedWords, open_service, quantiles, text, timed
from tests.benchmarks.service import Rivals
from tests.shells.owners import is_owned, place_in, until
from tests.shells.serving import PATIENCE, Conversation, conversation, environment, tool
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.memory import CreateMemory

ROUNDS = 5
SINGLE = 300
CLIENTS = 8
WRITES = 500

OWNER = """
from contextlib import nullcontext
from tests.benchmarks.corpus import HashedWords
from tmws_adapters import bootstrap
bootstrap._open_embedder = lambda settings: nullcontext(HashedWords.seeded())
from tmws_mcp.owner import main
main()
"""
"""An owner like any other but for its embedder."""


@attrs.define
class Stored:
    """What clients were told, and how long they waited for it."""

    ids: list[str] = attrs.Factory(list)
    times: list[float] = attrs.Factory(list)
    seconds: float = 0.0

    def figures(self, database: Path) -> dict[str, float]:
        with closing(sqlite3.connect(database)) as connection:
            stored = {row[0] for row in connection.execute("SELECT id FROM memories_v2")}
        return {
            **quantiles(self.times),
            "per_second": round(len(self.ids) / self.seconds),
            "acknowledged": len(self.ids),
            "lost": len(set(self.ids) - stored),
        }


def contents(chance: random.Random, number: int) -> list[str]:
    return [text(chance, chance.randint(8, 40)) for _ in range(number)]


def synced(path: Path) -> dict[str, float]:
    """Measure the disk alone."""

    def write(file: int) -> None:
        os.write(file, bytes(4096))
        os.fsync(file)

    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        return quantiles([timed(partial(write, file)) for _ in range(SINGLE)])
    finally:
        os.close(file)


async def store(app: App, caller: Caller, texts: Sequence[str], stored: Stored) -> None:
    for content in texts:
        started = time.perf_counter()
        created = await app.call(caller, CreateMemory(content=content))
        stored.times.append((time.perf_counter() - started) * 1000)
        stored.ids.append(created.memory_id)


async def in_process(home: Path, chance: random.Random) -> dict[str, Any]:
    embedder = HashedWords.seeded()
    rival = Rivals.open(embedder, home / "rival.db")
    alone, together, plain = Stored(), Stored(), []
    async with open_service(home, embedder) as (app, settings):
        caller = settings.operator()
        await store(app, caller, contents(chance, 20), Stored())
        for content in contents(chance, SINGLE):
            await store(app, caller, [content], alone)
            plain.append(timed(partial(rival.store, [content])))
        alone.seconds = sum(alone.times) / 1000
        started = time.perf_counter()
        async with anyio.create_task_group() as clients:
            for _ in range(CLIENTS):
                clients.start_soon(store, app, caller, contents(chance, WRITES), together)
        together.seconds = time.perf_counter() - started
    database = settings.sqlite_path
    return {
        "one": alone.figures(database),
        "sqlite3": quantiles(plain),
        "eight_in_process": together.figures(database),
    }


@contextmanager
def owner(home: Path) -> Iterator[None]:
    """Run an owner that ends with its last terminal."""
    command = [sys.executable, "-P", "-c", OWNER, place_in(home).database]
    told = subprocess.run(
        command, env=environment(home), cwd=home, stdout=subprocess.PIPE, timeout=PATIENCE, check=True
    )
    assert json.loads(told.stdout) == {"ok": True}
    yield
    until(lambda: not is_owned(home))


def ask(terminal: Conversation, line: bytes) -> bytes:
    assert terminal.process.stdin
    assert terminal.process.stdout
    terminal.process.stdin.write(line)
    terminal.process.stdin.flush()
    return terminal.process.stdout.readline()


def store_through(terminal: Conversation, lines: Sequence[bytes]) -> Stored:
    stored, answers = Stored(), []
    for line in lines:
        started = time.perf_counter()
        answers.append(ask(terminal, line))
        stored.times.append((time.perf_counter() - started) * 1000)
    # Read afterwards: eight clients share this one process, and it is not what is measured.
    for answer in answers:
        body = json.loads(answer)["result"]["structuredContent"]
        assert body["success"], body
        stored.ids.append(body["memory_id"])
    return stored


@contextmanager
def terminals(home: Path) -> Iterator[list[Conversation]]:
    """Run terminals that have been answered once."""
    with ExitStack() as stack:
        opened = [stack.enter_context(conversation(home)) for _ in range(CLIENTS)]
        for each in opened:
            ask(each, tool(0, "get_memory_stats"))
        yield opened
        for each in opened:
            each.process.communicate(timeout=PATIENCE)


def through_terminals(home: Path, chance: random.Random) -> dict[str, float]:
    together = Stored()
    with owner(home), terminals(home) as opened, ThreadPoolExecutor(CLIENTS) as threads:
        lines = [
            [tool(number, "create_memory", content=content) for number, content in enumerate(contents(chance, WRITES))]
            for _ in opened
        ]
        started = time.perf_counter()
        for each in threads.map(store_through, opened, lines):
            together.times += each.times
            together.ids += each.ids
        together.seconds = time.perf_counter() - started
    return together.figures(home / "tmws.db")


def measure(chance: random.Random) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        figures = {"fsync": synced(home / "synced")}
        (home / "terminals").mkdir()
        figures |= anyio.run(in_process, home, chance)
        return {**figures, "eight_terminals": through_terminals(home / "terminals", chance)}


def median(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of the figures; acknowledged and lost are sums."""
    merged: dict[str, Any] = {}
    for name, figures in rounds[0].items():
        rows = {key: [each[name][key] for each in rounds] for key in figures}
        merged[name] = {
            key: sum(row) if key in ("acknowledged", "lost") else round(statistics.median(row), 2)
            for key, row in rows.items()
        }
    return merged


def main() -> None:
    chance = random.Random(SEED)
    rounds = [measure(chance) for _ in range(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)]
    print(json.dumps(median(rounds), indent=2))


if __name__ == "__main__":
    main()
