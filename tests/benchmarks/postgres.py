"""What a search on PostgreSQL costs, by what the caller may see and asks for; with SQLite as the rival.

    python -m tests.benchmarks.postgres [SIZE] [QUERIES]

Each query is asked of both stores in turn through App.call, with the same memories in both; embedding costs nothing
here. `words` and `vectors` are the two halves of the search alone. Times are milliseconds. `recall` is the share of the
ten nearest vectors, as numpy finds them among the allowed ones, that pgvector finds. `held` is how many memories a rule
leaves. The server is one of its own with 1 GB of shared buffers, without waiting for the disk.
"""

import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio
import attrs
import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from tests.benchmarks.corpus import SEED, HashedWords, quantiles, seconds_to_load, text
from tests.licences import UNLIMITED
from tests.servers.postgres import own_server
from tmws_adapters.bootstrap import Parts, compose, open_parts
from tmws_adapters.postgres.models import INDEX
from tmws_adapters.settings import Settings, load_settings
from tmws_core.app import App
from tmws_core.domain.access import Scope, visibility_of
from tmws_core.domain.agent import Caller
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import AccessLevel, MemoryType
from tmws_core.domain.text import query_terms
from tmws_core.messages.memory import CreateMemories, CreateMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.services.recall import CANDIDATES, searchable_in

SIZE, QUERIES, BATCH, WARM, TOP = 100_000, 60, 500, 3, 10

SESSIONS, TAGS = 100, 10

OWNERS = (
    (50.0, {"namespace": "half", "access_level": AccessLevel.TEAM}),
    (20.0, {"namespace": "fifth", "access_level": AccessLevel.TEAM}),
    (10.0, {"namespace": "tenth", "access_level": AccessLevel.TEAM}),
    (0.5, {"namespace": "own", "agent_id": "owner"}),
    (19.5, {"namespace": "rest", "agent_id": "other"}),
)
"""Shares of the memories in percent, and what they have in common."""


@attrs.frozen
class Corpus:
    """The memories, a list for each field; `moments` says by store when each batch was stored."""

    texts: list[str]
    owners: list[int]
    types: list[MemoryType]
    importances: list[float]
    rows: npt.NDArray[np.float32]
    moments: dict[str, list[datetime]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, size: int, embedder: HashedWords) -> "Corpus":
        chance = random.Random(SEED)
        texts = [text(chance, chance.randint(8, 40)) for _ in range(size)]
        return cls(
            texts,
            chance.choices(range(len(OWNERS)), weights=[share for share, _ in OWNERS], k=size),
            chance.choices(list(MemoryType), k=size),
            [round(chance.random(), 3) for _ in range(size)],
            np.vstack([embedder.row(each) for each in texts]),
        )

    def memory(self, place: int) -> CreateMemory:
        return CreateMemory(
            content=self.texts[place],
            memory_type=self.types[place],
            importance=self.importances[place],
            session_id=f"session-{place % SESSIONS}",
            tags=(f"tag-{place % TAGS}", "all"),
            **OWNERS[self.owners[place]][1],
        )


@attrs.frozen
class Rule:
    """What a caller may see and asks for, and which memories that leaves.

    `wanted` is the request for a question to the store of a name.
    """

    label: str
    caller: Caller
    left: npt.NDArray[np.bool_]
    wanted: Callable[[str, str], SearchMemories]


def rules_of(corpus: Corpus, operator: Caller) -> Iterator[Rule]:
    owners, places = np.array(corpus.owners), np.arange(len(corpus.texts))
    types, importances = np.array([each.value for each in corpus.types]), np.array(corpus.importances)
    everything = np.full(len(places), fill_value=True)
    kind = MemoryType.SEMANTIC

    def asked(**fields: object) -> Callable[[str, str], SearchMemories]:
        return lambda query, _: SearchMemories(query=query, **fields)  # type: ignore[arg-type]  # of several types

    def since(batch: int) -> Callable[[str, str], SearchMemories]:
        return lambda query, store: SearchMemories(query=query, created_after=corpus.moments[store][batch])

    def member(namespace: str) -> Caller:
        return Caller(agent_id="reader", namespace=namespace)

    plain = asked()
    yield Rule("everything", operator, everything, plain)
    yield Rule("team, 50 %", member("half"), owners == 0, plain)
    yield Rule("team, 20 %", member("fifth"), owners == 1, plain)
    yield Rule("team, 10 %", member("tenth"), owners == 2, plain)
    yield Rule("one agent", Caller(agent_id="owner", namespace="elsewhere"), owners == 3, plain)
    for percent in (20, 10, 3):
        first = len(places) * (100 - percent) // 100 // BATCH
        yield Rule(f"newest {percent} %", operator, places >= first * BATCH, since(first))
    yield Rule("type", operator, types == kind.value, asked(memory_type=kind))
    yield Rule("type, in a team", member("half"), (owners == 0) & (types == kind.value), asked(memory_type=kind))
    yield Rule("session", operator, places % SESSIONS == 1, asked(session_id="session-1"))
    yield Rule("tag", operator, places % TAGS == 1, asked(tags_any=("tag-1",)))
    yield Rule("importance", operator, importances >= 0.8, asked(min_importance=0.8))
    yield Rule("no memory", operator, ~everything, asked(session_id="none"))


@attrs.frozen
class Store:
    """One of the two stores, open."""

    name: str
    parts: Parts
    app: App

    async def fill(self, operator: Caller, corpus: Corpus, start: int, end: int) -> None:
        moments = corpus.moments.setdefault(self.name, [])
        for first in range(start, end, BATCH):
            moments.append(self.parts.clock.now())
            batch = tuple(map(corpus.memory, range(first, min(first + BATCH, end))))
            await self.app.call(operator, CreateMemories(memories=batch))


@asynccontextmanager
async def open_stores(home: Path, url: str, embedder: HashedWords) -> AsyncIterator[tuple[Settings, Store, Store]]:
    files = load_settings({"TMWS_HOME": str(home), **UNLIMITED}, dotenv=None)
    server = load_settings({"TMWS_HOME": str(home / "server"), "TMWS_DATABASE_URL": url, **UNLIMITED}, dotenv=None)
    async with open_parts(files) as sqlite, open_parts(server) as postgres:
        assert postgres.keeper
        sqlite.embedder.inner = postgres.embedder.inner = embedder
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(postgres.keeper.run)
            yield (
                files,
                Store("sqlite", sqlite, compose(files, sqlite)),
                Store("postgresql", postgres, compose(server, postgres)),
            )
            tasks.cancel_scope.cancel()


async def load(store: Store, operator: Caller, corpus: Corpus, url: str) -> dict[str, float]:
    """Fill the store without its graph, make it afterwards, and let the server look at what it holds."""
    await store.fill(operator, corpus, 0, BATCH)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = await connection.execute("SELECT pg_get_indexdef(%s::regclass)", (INDEX,))
        ((definition,),) = await found.fetchall()
        await connection.execute(f"DROP INDEX {INDEX}".encode())
        started = time.perf_counter()
        await store.fill(operator, corpus, BATCH, len(corpus.texts))
        stored = time.perf_counter()
        await connection.execute(b"SET maintenance_work_mem = '1GB'")
        await connection.execute(definition.encode())
        await connection.execute(b"VACUUM ANALYZE")
    return {"load_seconds": round(stored - started, 1), "graph_seconds": round(time.perf_counter() - stored, 1)}


async def measure(url: str, home: Path, size: int, queries: int) -> dict[str, object]:
    embedder = HashedWords.seeded()
    corpus = Corpus.of(size, embedder)
    async with open_stores(home, url, embedder) as (settings, sqlite, postgres):
        operator = settings.operator()
        report: dict[str, object] = {"memories": size, **await load(postgres, operator, corpus, url)}
        await sqlite.fill(operator, corpus, 0, size)
        report["kept_seconds"] = await seconds_to_load(postgres.parts, postgres.app, operator)
        # A server holds no corpus, through which the collector would go meanwhile: 70 ms each time.
        gc.freeze()
        for rule in rules_of(corpus, operator):
            report[rule.label] = await measured(rule, (sqlite, postgres), corpus, embedder, queries)
    return report


async def measured(
    rule: Rule, stores: Sequence[Store], corpus: Corpus, embedder: HashedWords, queries: int
) -> dict[str, object]:
    chance = random.Random(rule.label)
    times: dict[str, list[float]] = {}
    shares: list[float] = []
    for turn in range(queries + WARM):
        question = text(chance, 6)
        row = embedder.row(question)
        for store in stores if turn % 2 else stores[::-1]:
            figures = await asked(store, rule, question, row)
            if turn >= WARM:
                for name, each in figures.items():
                    times.setdefault(f"{store.name}{name}", []).append(each)
        shares.append(await recalled(stores[-1], rule, corpus, question, row))
    return {
        "held": int(rule.left.sum()),
        **{name: quantiles(each) for name, each in times.items()},
        "recall": round(float(np.mean(shares)), 4),
    }


async def asked(store: Store, rule: Rule, question: str, row: npt.NDArray[np.float32]) -> dict[str, float]:
    """Return the milliseconds of a search, and then of its halves."""
    parts, scope = store.parts, scope_of(rule, question, store)

    async def vectors() -> None:
        searchable = await searchable_in(parts.storage, scope, parts.vectors)
        await parts.vectors.search(searchable, Vector(row.tobytes()), CANDIDATES)

    return {
        "": await timed(lambda: store.app.call(rule.caller, rule.wanted(question, store.name))),
        " words": await timed(lambda: parts.lexical.search(scope, query_terms(question), CANDIDATES)),
        " vectors": await timed(vectors),
    }


async def recalled(store: Store, rule: Rule, corpus: Corpus, question: str, row: npt.NDArray[np.float32]) -> float:
    # The memories have the numbers 1, 2, … in the order of the rows.
    places = np.flatnonzero(rule.left)
    best = places[np.argsort(-(corpus.rows[places] @ row))[:TOP]] + 1
    searchable = await searchable_in(store.parts.storage, scope_of(rule, question, store), store.parts.vectors)
    hits = (await store.parts.vectors.search(searchable, Vector(row.tobytes()), CANDIDATES)).hits
    found = {hit.document for hit in hits[:TOP]}
    return len(found & set(best.tolist())) / len(best) if len(best) else float(not found)


def scope_of(rule: Rule, question: str, store: Store) -> Scope:
    wanted = rule.wanted(question, store.name).as_filter()
    return Scope(visibility=visibility_of(rule.caller), filter=wanted, at=store.parts.clock.now())


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    size, queries = [*map(int, sys.argv[1:]), *(SIZE, QUERIES)[len(sys.argv) - 1 :]]
    with own_server() as server, tempfile.TemporaryDirectory() as home:
        server.execute(sql.SQL("ALTER SYSTEM SET shared_buffers = '1GB'"))
        server.stop()
        server.start()
        with server.database() as url:
            print(json.dumps(anyio.run(measure, url, Path(home), size, queries), indent=2))


if __name__ == "__main__":
    main()
