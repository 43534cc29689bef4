"""What a search costs, by how much of the store the caller may see, and by what searches the vectors.

    python -m tests.benchmarks.search [SIZE ...]

Callers see 100, 50, 35, 5, 1.7 and 0.5 % of the memories: the operator all, members of three teams theirs, one agent
what is shared with it, and one its own. Every query is asked in turn: of the service with exact search, of the service
with the planner as it ships, and of the service with a planner that always takes Chroma (for what that would cost); of
numpy over the allowed rows, of Chroma with a `where` filter on the caller's rights, and of FTS5, alone in this process.
Times are milliseconds. `recall` is the share of the ten nearest vectors that Chroma alone, always taken, finds.
"""

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import chromadb
import chromadb.config
import numpy as np
import numpy.typing as npt

from tests.benchmarks.corpus import SEED, HashedWords, open_service, quantiles, text, timed
from tests.contracts.builders import searchable
from tests.licences import UNLIMITED
from tmws_adapters.bootstrap import Parts, compose, open_parts
from tmws_adapters.chroma import open_chroma
from tmws_adapters.partitioned import Costs, PartitionedIndex, open_partitioned
from tmws_adapters.settings import Settings, load_settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import AccessLevel
from tmws_core.domain.text import lexical_document, query_terms
from tmws_core.errors import IndexUnavailable
from tmws_core.messages.memory import CreateMemories, CreateMemory
from tmws_core.messages.search import SearchMemories

QUERIES = 60
BATCH = 500
CANDIDATES = 200
BUILD_SECONDS = 600

ALWAYS = Costs(value=1.0, partition=384.0 * 100, candidate=0.0)
"""Takes Chroma for every partition of more than 100 documents."""


@attrs.frozen
class Share:
    """A share of the memories, and the caller that sees it and nothing else."""

    percent: float
    label: str
    fields: dict[str, Any]
    caller: Caller


SHARES = (
    Share(
        50.0, "50", {"namespace": "half", "access_level": AccessLevel.TEAM}, Caller(agent_id="reader", namespace="half")
    ),
    Share(
        35.0,
        "35",
        {"namespace": "third", "access_level": AccessLevel.TEAM},
        Caller(agent_id="reader", namespace="third"),
    ),
    Share(5.0, "5", {"namespace": "few", "access_level": AccessLevel.TEAM}, Caller(agent_id="reader", namespace="few")),
    Share(
        1.7,
        "1.7",
        {"namespace": "lent", "access_level": AccessLevel.SHARED, "shared_with": ("borrower",)},
        Caller(agent_id="borrower", namespace="elsewhere"),
    ),
    Share(0.5, "0.5", {"namespace": "own", "agent_id": "owner"}, Caller(agent_id="owner", namespace="elsewhere")),
    Share(7.8, "rest", {"namespace": "rest", "agent_id": "other"}, Caller(agent_id="other", namespace="elsewhere")),
)


@attrs.frozen
class Rivals:
    """The engines alone, over the same texts and vectors; `marks` names the share that each row belongs to."""

    rows: npt.NDArray[np.float32]
    marks: npt.NDArray[np.int64]
    database: sqlite3.Connection
    collection: Any

    @classmethod
    def open(cls, rows: npt.NDArray[np.float32], marks: Sequence[int], texts: Sequence[str], home: Path) -> "Rivals":
        client = chromadb.PersistentClient(
            str(home / "rival"), settings=chromadb.config.Settings(anonymized_telemetry=False)
        )
        collection = client.create_collection(
            "rival", embedding_function=None, configuration={"hnsw": {"space": "cosine", "ef_construction": 200}}
        )
        for start in range(0, len(rows), BATCH):
            part = range(start, min(start + BATCH, len(rows)))
            collection.add(
                ids=[str(number) for number in part],
                embeddings=rows[start : start + BATCH],
                metadatas=[{"share": marks[number]} for number in part],
            )
        database = sqlite3.connect(home / "rival.db", isolation_level=None)
        database.execute(
            "CREATE VIRTUAL TABLE lexical USING fts5(content, tokenize='porter unicode61 remove_diacritics 2')"
        )
        database.execute("BEGIN")
        database.executemany("INSERT INTO lexical(content) VALUES (?)", [(lexical_document(each),) for each in texts])
        database.execute("COMMIT")
        return cls(rows, np.array(marks), database, collection)

    def numpy(self, places: npt.NDArray[np.int64] | None, query: npt.NDArray[np.float32]) -> None:
        scores = (self.rows if places is None else self.rows[places]) @ query
        best = np.argpartition(-scores, min(CANDIDATES, len(scores)) - 1)[:CANDIDATES]
        best[np.argsort(-scores[best])]

    def chroma(self, share: int | None, query: npt.NDArray[np.float32]) -> None:
        where = None if share is None else {"share": share}
        self.collection.query(query_embeddings=[query], n_results=CANDIDATES, where=where, include=["distances"])

    def fts5(self, query: str) -> None:
        match = " OR ".join(f'"{term}"' for term in query_terms(query))
        sql = "SELECT rowid, rank FROM lexical WHERE lexical MATCH ? ORDER BY rank LIMIT ?"
        self.database.execute(sql, (match, CANDIDATES)).fetchall()


async def measure(size: int, home: Path) -> dict[str, object]:
    chance, embedder = random.Random(SEED), HashedWords.seeded()
    marks = chance.choices(range(len(SHARES)), weights=[share.percent for share in SHARES], k=size)
    texts = [text(chance, chance.randint(8, 40)) for _ in range(size)]
    settings = load_settings({"TMWS_HOME": str(home), **UNLIMITED}, dotenv=None)
    callers: list[tuple[int | None, str, Caller]] = [(None, "100", settings.operator())]
    callers += [(place, share.label, share.caller) for place, share in enumerate(SHARES) if share.label != "rest"]
    report: dict[str, object] = {"memories": size}
    async with open_parts(settings) as parts:
        parts.embedder.inner = embedder
        await fill(compose(settings, parts), settings, texts, marks)
        rows = np.vstack([embedder.row(each) for each in texts])
        rivals = Rivals.open(rows, marks, texts, home)
        async with open_services(settings, parts, home, report) as (services, always):
            for place, label, caller in callers:
                queries = [text(chance, 6) for _ in range(QUERIES)]
                places = None if place is None else np.flatnonzero(rivals.marks == place)
                times: dict[str, list[float]] = {}
                for turn, query in enumerate(queries):
                    row = embedder.row(query)
                    # Who comes first pays for what the others find in the caches.
                    for name, app in [*services.items()][turn % 3 :] + [*services.items()][: turn % 3]:
                        started = time.perf_counter()
                        await app.call(caller, SearchMemories(query=query))
                        times.setdefault(name, []).append((time.perf_counter() - started) * 1000)
                    times.setdefault("numpy", []).append(timed(partial(rivals.numpy, places, row)))
                    times.setdefault("chroma_where", []).append(timed(partial(rivals.chroma, place, row)))
                    times.setdefault("fts5", []).append(timed(partial(rivals.fts5, query)))
                # The first query of a caller reads what the service keeps for the next ones.
                figures: dict[str, object] = {name: quantiles(each[1:]) for name, each in times.items()}
                recall = await recalled(parts, always, rivals, places, [embedder.row(query) for query in queries])
                report[f"sees {label} %"] = figures | {"recall": recall}
    report["first_search"] = {kind: first_search(home, kind) for kind in ("exact", "chroma")}
    return report


async def fill(app: App, settings: Settings, texts: Sequence[str], marks: Sequence[int]) -> None:
    operator = settings.operator()
    for start in range(0, len(texts), BATCH):
        pairs = zip(texts[start : start + BATCH], marks[start : start + BATCH], strict=True)
        batch = tuple(CreateMemory(content=content, **SHARES[mark].fields) for content, mark in pairs)
        await app.call(operator, CreateMemories(memories=batch))


@asynccontextmanager
async def open_services(
    settings: Settings, parts: Parts, home: Path, report: dict[str, object]
) -> AsyncIterator[tuple[dict[str, App], PartitionedIndex]]:
    started = time.perf_counter()
    async with (
        open_chroma(directory=home / "planned", url=None) as small,
        open_partitioned(parts.vectors, small, parts.storage) as planned,
        open_chroma(directory=home / "chroma", url=None) as large,
        open_partitioned(parts.vectors, large, parts.storage, costs=ALWAYS, recall=0) as always,
    ):
        await followed(always)
        report["index_build_seconds"] = round(time.perf_counter() - started, 1)
        choices = {"exact": parts.vectors, "planned": planned, "always_chroma": always}
        yield {name: compose(settings, attrs.evolve(parts, vectors=each)) for name, each in choices.items()}, always


async def followed(index: PartitionedIndex) -> None:
    """Wait until the index has caught up; the planner tells nobody."""
    with anyio.fail_after(BUILD_SECONDS):
        while not await complete(index):  # noqa: ASYNC110 - see above
            await anyio.sleep(0.02)


async def complete(index: PartitionedIndex) -> bool:
    try:
        figures = await index.health()
    except IndexUnavailable:
        # Chroma is loading.
        return False
    return figures["indexed"] > 0 and not figures["waiting"]


async def recalled(
    parts: Parts,
    always: PartitionedIndex,
    rivals: Rivals,
    places: npt.NDArray[np.int64] | None,
    queries: Sequence[npt.NDArray[np.float32]],
) -> float:
    # The memories have the numbers 1, 2, … in the order of the rows.
    allowed = array("q", (np.arange(len(rivals.rows)) if places is None else places).astype(np.int64) + 1)
    shares = []
    for row in queries:
        query = Vector(row.tobytes())
        true = {hit.document for hit in (await parts.vectors.search(searchable(allowed), query, CANDIDATES)).hits[:10]}
        found = {hit.document for hit in (await always.search(searchable(allowed), query, CANDIDATES)).hits[:10]}
        shares.append(len(true & found) / len(true))
    return round(float(np.mean(shares)), 4)


def first_search(home: Path, kind: str) -> dict[str, float]:
    """Return how long a new process takes from opening the store to the answer of the operator, and what it holds."""
    command = [sys.executable, "-m", "tests.benchmarks.search", "--first-search", str(home), kind]
    output = subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECONDS, text=True).stdout
    facts: dict[str, float] = json.loads(output)
    return facts


async def search_first(home: Path, kind: str) -> dict[str, float]:
    embedder, chance = HashedWords.seeded(), random.Random(SEED)
    query = SearchMemories(query=text(chance, 6))
    started = time.perf_counter()
    if kind == "exact":
        async with open_service(home, embedder) as (app, settings):
            await app.call(settings.operator(), query)
            return {"seconds": round(time.perf_counter() - started, 2), "rss_mib": resident()}
    settings = load_settings({"TMWS_HOME": str(home), **UNLIMITED}, dotenv=None)
    async with (
        open_parts(settings) as parts,
        open_chroma(directory=home / "chroma", url=None) as derived,
        open_partitioned(parts.vectors, derived, parts.storage, costs=ALWAYS, recall=0) as always,
    ):
        await followed(always)
        parts.embedder.inner = embedder
        app = compose(settings, attrs.evolve(parts, vectors=always))
        await app.call(settings.operator(), query)
        return {"seconds": round(time.perf_counter() - started, 2), "rss_mib": resident()}


def resident() -> int:
    """Return the resident memory of this process in MiB; 30 of them are the benchmark's embedder."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20


def main() -> None:
    if sys.argv[1:2] == ["--first-search"]:
        print(json.dumps(anyio.run(search_first, Path(sys.argv[2]), sys.argv[3])))
        return
    for size in [int(argument) for argument in sys.argv[1:]] or [5_000, 20_000, 100_000]:
        with tempfile.TemporaryDirectory() as home:
            print(json.dumps(anyio.run(measure, size, Path(home)), indent=2), flush=True)


if __name__ == "__main__":
    main()
