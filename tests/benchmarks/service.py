"""What the service costs beside the engines that it calls: create and search at 5,000 and 20,000 memories.

    python -m tests.benchmarks.service [SIZE ...]

Vectors are made from hashed words, so that no embedding is in any figure. Each query runs on the service and on its
rivals in turn: numpy (exact search over the same rows) and SQLite's FTS5 (the same terms over the same texts, no access
rules), both alone in this process. Each stored memory is stored by the service and by plain sqlite3 (row, lexical entry
and vector in one durable transaction) in turn. Times are milliseconds.
"""

import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import attrs
import numpy as np
import numpy.typing as npt

from tests.benchmarks.corpus import DIMENSION, SEED, HashedWords, open_service, quantiles, text, timed
from tmws_core.domain.text import lexical_document, query_terms
from tmws_core.messages.memory import CreateMemories, CreateMemory
from tmws_core.messages.search import SearchMemories

QUERIES = 200
CREATES = 200
BATCH = 500
CANDIDATES = 200


@attrs.define
class Rivals:
    """The engines alone, over the same texts and vectors."""

    embedder: HashedWords
    database: sqlite3.Connection
    rows: list[npt.NDArray[np.float32]] = attrs.Factory(list)
    matrix: npt.NDArray[np.float32] = attrs.field(factory=lambda: np.zeros((0, DIMENSION), np.float32))

    @classmethod
    def open(cls, embedder: HashedWords, path: Path) -> "Rivals":
        database = sqlite3.connect(path, isolation_level=None)
        database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE memory(id INTEGER PRIMARY KEY, content TEXT, vector BLOB);"
            "CREATE VIRTUAL TABLE lexical USING fts5(content, tokenize='porter unicode61 remove_diacritics 2');"
        )
        return cls(embedder, database)

    def store(self, texts: Sequence[str]) -> None:
        self.database.execute("BEGIN IMMEDIATE")
        for content in texts:
            row = self.embedder.row(content)
            self.rows.append(row)
            sql = "INSERT INTO memory(content, vector) VALUES (?, ?)"
            number = self.database.execute(sql, (content, row.tobytes())).lastrowid
            self.database.execute(
                "INSERT INTO lexical(rowid, content) VALUES (?, ?)", (number, lexical_document(content))
            )
        self.database.execute("COMMIT")

    def freeze(self) -> None:
        self.matrix = np.vstack(self.rows)

    def by_meaning(self, query: str) -> None:
        scores = self.matrix @ self.embedder.row(query)
        best = np.argpartition(-scores, CANDIDATES)[:CANDIDATES]
        best[np.argsort(-scores[best])]

    def by_words(self, query: str) -> None:
        match = " OR ".join(f'"{term}"' for term in query_terms(query))
        sql = "SELECT rowid, rank FROM lexical WHERE lexical MATCH ? ORDER BY rank LIMIT ?"
        self.database.execute(sql, (match, CANDIDATES)).fetchall()


async def measure(size: int, home: Path) -> dict[str, object]:
    chance = random.Random(SEED)
    embedder = HashedWords.seeded()
    rivals = Rivals.open(embedder, home / "rival.db")
    times: dict[str, list[float]] = {name: [] for name in ("create", "sqlite3", "search", "numpy", "fts5")}
    async with open_service(home, embedder) as (app, settings):
        caller = settings.operator()
        contents = [text(chance, chance.randint(8, 40)) for _ in range(size)]
        loading = time.perf_counter()
        for start in range(0, size, BATCH):
            batch = tuple(CreateMemory(content=content) for content in contents[start : start + BATCH])
            await app.call(caller, CreateMemories(memories=batch))
        loaded = size / (time.perf_counter() - loading)
        rivals.store(contents)
        for _ in range(CREATES):
            content = text(chance, chance.randint(8, 40))
            started = time.perf_counter()
            await app.call(caller, CreateMemory(content=content))
            times["create"].append((time.perf_counter() - started) * 1000)
            times["sqlite3"].append(timed(partial(rivals.store, [content])))
        rivals.freeze()
        await app.call(caller, SearchMemories(query=text(chance, 6)))
        for _ in range(QUERIES):
            query = text(chance, 6)
            times["fts5"].append(timed(partial(rivals.by_words, query)))
            started = time.perf_counter()
            await app.call(caller, SearchMemories(query=query))
            times["search"].append((time.perf_counter() - started) * 1000)
            times["numpy"].append(timed(partial(rivals.by_meaning, query)))
    return report(size, loaded, times)


def report(size: int, loaded: float, times: dict[str, list[float]]) -> dict[str, object]:
    engines = [one + other for one, other in zip(times["numpy"], times["fts5"], strict=True)]
    figures = {**times, "engines": engines}
    rounded = {name: quantiles(row) for name, row in figures.items()}
    return {
        "memories": size,
        "batch_creates_per_second": round(loaded),
        **rounded,
        "create_to_sqlite3": round(rounded["create"]["p50"] / rounded["sqlite3"]["p50"], 2),
        "search_to_engines": round(rounded["search"]["p50"] / rounded["engines"]["p50"], 2),
        "search_within_2x_plus_1ms": rounded["search"]["p50"] <= 2 * rounded["engines"]["p50"] + 1,
    }


def main() -> None:
    for size in [int(argument) for argument in sys.argv[1:]] or [5_000, 20_000]:
        with tempfile.TemporaryDirectory() as home:
            print(json.dumps(anyio.run(measure, size, Path(home)), indent=2))


if __name__ == "__main__":
    main()
