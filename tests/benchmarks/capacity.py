"""What a large store on PostgreSQL costs: to fill, to index, to search, and to add one memory to.

    python -m tests.benchmarks.capacity load URL [COUNT] [SECONDS] [after|during]
    python -m tests.benchmarks.capacity search URL
    python -m tests.benchmarks.capacity create [SIZE]

`load` stores memories of 40 words and 384 values in a database, in batches through App.call, for 1,000 agents in 20
namespaces; it ends at COUNT, or SECONDS after its begin, and goes on from there when it is run again. The index of the
vectors is made `after` that, or is there `during` it. `search` asks what it has stored, by several access rules: with
all vectors in memory (`kept`), and by the server's index alone (`graph`). `recall` compares the ten nearest with those
among all vectors of the rule. `create` stores one memory after the other
on a server of its own, which waits for the disk, and in SQLite in turn, both holding SIZE memories; `fsync` is 4 KiB
written and synced alone.

Times are milliseconds unless they say otherwise. On a machine that others use, read the seconds of processors
(`cpu`), of this process and of the server.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import psycopg

from tests.benchmarks.corpus import DIMENSION, SEED, HashedWords, quantiles, seconds_to_load, text
from tests.licences import UNLIMITED
from tests.servers.postgres import own_server
from tmws_adapters.bootstrap import Parts, compose, open_parts
from tmws_adapters.postgres.models import INDEX, active_model, create_index
from tmws_adapters.postgres.session import Session
from tmws_adapters.postgres.vectors import PgVectorIndex
from tmws_adapters.settings import load_settings
from tmws_core.app import App
from tmws_core.domain.access import Scope, visibility_of
from tmws_core.domain.agent import Caller, operator
from tmws_core.domain.embedding import Vector
from tmws_core.domain.memory import AccessLevel
from tmws_core.messages.memory import CreateMemories, CreateMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.services.recall import searchable_in

COUNT, SECONDS, SIZE = 1_000_000, 3600.0, 100_000
BATCH, WORDS, WRITERS, MEMORY = 500, 40, 2, "2500"
AGENTS, NAMESPACES = 1000, 20
QUERIES, COMPARED, WARM, CREATES, TOP = 60, 15, 3, 300, 10

LEVELS = (AccessLevel.PRIVATE, AccessLevel.PRIVATE, AccessLevel.PRIVATE, AccessLevel.TEAM, AccessLevel.PUBLIC)
"""Three of five memories are private."""

SERVER = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
}
"""A server as in production."""

BUILDING = "SET maintenance_work_mem = '3GB'; SET max_parallel_maintenance_workers = 1; SET statement_timeout = 0"
"""The graph takes 2.7 KB a vector while it is built (1.0 GB for 380,000); what does not fit is put in one by one."""

OPERATOR = operator("benchmark", "benchmark", "python")


@attrs.frozen
class Store:
    """An open store."""

    parts: Parts
    app: App

    async def write(self, number: int) -> None:
        """Store a batch, unless it is there."""
        chance = random.Random(f"{SEED} {number}")
        agent = number % AGENTS
        caller = Caller(agent_id=f"agent-{agent}", namespace=f"team-{agent % NAMESPACES}")
        new = [CreateMemory(content=text(chance, WORDS), access_level=chance.choice(LEVELS)) for _ in range(BATCH)]
        await self.app.call(caller, CreateMemories(memories=tuple(new)))

    async def fill(self, first: int, end: int, deadline: float) -> int:
        """Store batches by WRITERS tasks, and return where they ended."""
        numbers = iter(range(first, end))

        async def work() -> None:
            nonlocal first
            for number in numbers:
                await self.write(number)
                first = max(first, number + 1)
                if time.monotonic() > deadline:
                    break

        async with anyio.create_task_group() as tasks:
            for _ in range(WRITERS):
                tasks.start_soon(work)
        return first


@asynccontextmanager
async def open_at(home: Path, url: str, embedder: HashedWords, **more: str) -> AsyncIterator[Store]:
    settings = load_settings({"TMWS_HOME": str(home), "TMWS_DATABASE_URL": url, **UNLIMITED, **more}, dotenv=None)
    async with open_parts(settings) as parts:
        parts.embedder.inner = embedder
        yield Store(parts, compose(settings, parts))


@attrs.define
class Meter:
    """Tells what a block cost: seconds, and those of the processors."""

    server: int
    told: dict[str, float] = attrs.Factory(dict)

    @contextmanager
    def measuring(self, name: str) -> Iterator[None]:
        started, here, there = time.monotonic(), time.process_time(), cpu_of(self.server)
        yield
        self.told[f"{name}_seconds"] = round(time.monotonic() - started, 1)
        self.told[f"{name}_cpu"] = round(time.process_time() - here, 1)
        self.told[f"{name}_server_cpu"] = round(cpu_of(self.server) - there, 1)


def cpu_of(server: int) -> float:
    """Return the processor's seconds that a server's processes have used, those that ended included."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if path.parent.name == str(server):
            total += sum(map(int, fields[11:15]))
        elif fields[1] == str(server):
            total += sum(map(int, fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


async def connected(url: str) -> "tuple[psycopg.AsyncConnection[Any], int]":
    """Return a connection and the process of its server, which runs on this machine."""
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    return connection, parent_of(connection.info.backend_pid)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


async def fill(store: Store, url: str, count: int, seconds: float, when: str) -> dict[str, Any]:
    """Fill a store and make its index."""
    connection, server = await connected(url)
    meter = Meter(server)
    async with connection:
        await store.write(0)
        if when == "after":
            await connection.execute(f"DROP INDEX IF EXISTS {INDEX}".encode())
        ((held,),) = await (await connection.execute("SELECT count(*) FROM embeddings")).fetchall()
        # The batches of the last run may have been stored in another order: some are offered again.
        begin = max(0, held // BATCH - WRITERS)
        with meter.measuring("load"):
            end = await store.fill(begin, -(-count // BATCH), time.monotonic() + seconds)
        await connection.execute(BUILDING.encode())
        with meter.measuring("index"):
            ((exists,),) = await (await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (INDEX,))).fetchall()
            found = await active_model(Session(connection))
            if not exists and found is not None:
                await create_index(Session(connection), found[0], DIMENSION, INDEX)
        with meter.measuring("vacuum"):
            await connection.execute(b"VACUUM ANALYZE")
        stored = end * BATCH - held
        both = meter.told["load_seconds"] + meter.told["index_seconds"]
        busiest = max(meter.told["load_cpu"], meter.told["load_server_cpu"]) + meter.told["index_server_cpu"] / 2
        return {
            "memories": end * BATCH,
            "stored": stored,
            **meter.told,
            "per_second": round(stored / both),
            "per_second_by_cpu": round(stored / busiest) if busiest else None,
            **await sizes_of(connection),
        }


async def sizes_of(connection: "psycopg.AsyncConnection[Any]") -> dict[str, Any]:
    """Return the size of the database and of its largest relations, in MB."""
    sql = """
        SELECT relname, pg_relation_size(oid) / 1000000 FROM pg_class
        WHERE relkind IN ('r', 'i') AND pg_relation_size(oid) > 1000000 ORDER BY 2 DESC LIMIT 12
    """
    ((whole,),) = await (await connection.execute("SELECT pg_database_size(current_database()) / 1000000")).fetchall()
    return {"megabytes": whole, "relations": dict(await (await connection.execute(sql)).fetchall())}


RULES: dict[str, tuple[Caller, Callable[[str], SearchMemories]]] = {
    "everything": (OPERATOR, lambda query: SearchMemories(query=query)),
    "one agent and what it may read": (
        Caller(agent_id="agent-7", namespace="team-7"),
        lambda query: SearchMemories(query=query),
    ),
    "a namespace of it": (
        Caller(agent_id="agent-7", namespace="team-7"),
        lambda query: SearchMemories(query=query, namespace="team-7"),
    ),
    "what it owns": (
        Caller(agent_id="agent-7", namespace="team-7"),
        lambda query: SearchMemories(query=query, agent_id="agent-7"),
    ),
}


async def searched(store: Store, embedder: HashedWords) -> dict[str, Any]:
    """Search by each rule; the first searches, which find nothing in memory, are told apart."""
    told: dict[str, Any] = {}
    for name, (caller, wanted) in RULES.items():
        chance = random.Random(name)
        questions = [text(chance, 6) for _ in range(QUERIES + WARM)]
        times = [await timed(partial(store.app.call, caller, wanted(question))) for question in questions]
        recalls = [await recall(store, embedder, caller, wanted(question)) for question in questions[:COMPARED]]
        told[name] = {
            **quantiles(times[WARM:]),
            "first": round(times[0], 1),
            "recall": round(sum(recalls) / len(recalls), 4),
        }
    return told


async def recall(store: Store, embedder: HashedWords, caller: Caller, wanted: SearchMemories) -> float:
    """Return the share of the nearest vectors of a scope that a search finds."""
    index = store.parts.vectors
    assert isinstance(index, PgVectorIndex)
    scope = Scope(visibility=visibility_of(caller), filter=wanted.as_filter(), at=store.parts.clock.now())
    searchable = await searchable_in(store.parts.storage, scope, index)
    query = Vector(embedder.row(wanted.query).tobytes())
    found = await index.search(searchable, query, TOP)
    exact = await attrs.evolve(index, exact=10**9, kept=None).search(searchable, query, TOP)
    nearest = {hit.document for hit in exact.hits}
    return len(nearest & {hit.document for hit in found.hits}) / max(len(nearest), 1)


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Return the milliseconds of a call."""
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


def synced(path: Path) -> float:
    """Return the milliseconds of writing 4 KiB durably."""
    started = time.perf_counter()
    with path.open("wb") as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
    return (time.perf_counter() - started) * 1000


async def load(url: str, count: int, seconds: float, when: str) -> None:
    embedder = HashedWords.seeded()
    with tempfile.TemporaryDirectory() as home:
        async with open_at(Path(home), url, embedder) as store:
            print(json.dumps(await fill(store, url, count, seconds, when), indent=2), flush=True)


async def search(url: str) -> None:
    """Search with all vectors in memory, and without any."""
    embedder = HashedWords.seeded()
    with tempfile.TemporaryDirectory() as home:
        async with open_at(Path(home), url, embedder, TMWS_VECTOR_MEMORY_MB=MEMORY) as store:
            print(json.dumps({"loaded_seconds": await loaded(store)}), flush=True)
            print(json.dumps({"kept": await searched(store, embedder)}, indent=2), flush=True)
        async with open_at(Path(home), url, embedder, TMWS_VECTOR_BACKEND="pgvector") as store:
            print(json.dumps({"graph": await searched(store, embedder)}, indent=2), flush=True)


async def loaded(store: Store) -> float:
    """Return how long it takes until the vectors are in memory."""
    assert store.parts.keeper
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.parts.keeper.run)
        seconds = await seconds_to_load(store.parts, store.app, OPERATOR)
        tasks.cancel_scope.cancel()
    return seconds


async def create(url: str, home: Path, size: int) -> None:
    """Store memories one by one, in both stores in turn."""
    embedder, chance = HashedWords.seeded(), random.Random(SEED)
    caller = Caller(agent_id="agent-0", namespace="team-0")
    times: dict[str, list[float]] = {"postgresql": [], "sqlite": [], "fsync": []}
    async with (
        open_at(home / "server", url, embedder) as postgres,
        open_at(home, f"sqlite:///{home}/tmws.db", embedder) as sqlite,
    ):
        print(json.dumps(await fill(postgres, url, size, SECONDS, "after"), indent=2), flush=True)
        await sqlite.fill(0, size // BATCH, time.monotonic() + SECONDS)
        connection, server = await connected(url)
        await connection.close()
        used, here = cpu_of(server), dict.fromkeys(times, 0.0)
        for _ in range(CREATES):
            memory = CreateMemory(content=text(chance, WORDS))
            for name, store in (("postgresql", postgres), ("sqlite", sqlite)):
                before = time.process_time()
                times[name].append(await timed(partial(store.app.call, caller, memory)))
                here[name] += time.process_time() - before
            times["fsync"].append(synced(home / "synced"))
        here["server"] = cpu_of(server) - used
    cpu = {name: round(seconds * 1000 / CREATES, 2) for name, seconds in here.items() if seconds}
    print(json.dumps({**{name: quantiles(each) for name, each in times.items()}, "cpu": cpu}, indent=2))


def main() -> None:
    match sys.argv[1:]:
        case ["load", url, *rest]:
            count, seconds, when = [*rest, *(str(COUNT), str(SECONDS), "after")[len(rest) :]]
            anyio.run(load, url, int(count), float(seconds), when)
        case ["search", url]:
            anyio.run(search, url)
        case ["create", *rest]:
            with own_server(**SERVER) as server, tempfile.TemporaryDirectory() as home, server.database() as url:
                anyio.run(create, url, Path(home), int(rest[0]) if rest else SIZE)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
