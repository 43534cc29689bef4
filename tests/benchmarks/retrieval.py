"""How well the service finds what is known to be relevant, and how fast.

    python -m tests.benchmarks.retrieval SET_DIR [--embedder onnx | --embedder ollama URL MODEL] [--postgresql]

A set is a folder with `memories.jsonl` (key, content, session_id, sequence, occurred_at, namespace) and `queries.jsonl`
(query, relevant, namespace, category); a query without relevant keys has no answer. The memories are stored through the
public interface in a store of their own, and each query is asked inside its namespace, twice: the second time its
vector is known, so that `latency_ms` is the search alone and `latency_with_embedding_ms` the whole. recall@k is the
mean over the queries of the share of the relevant keys among the first k results, `first` the share of the queries
whose first result is relevant, `marked` the share of those whose answer says that nothing in it is relevant. The store
is a SQLite file, or a database on a server of its own.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import attrs

from tests.benchmarks.corpus import quantiles
from tests.servers.postgres import own_server
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import load_settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.memory import CreateMemories, CreateMemory
from tmws_core.messages.search import MemoriesFound, SearchMemories

BATCH = 200
CUTS = (5, 10)


@attrs.frozen
class Asked:
    """One query, the keys that were found in the order of the results, and both answers' latencies."""

    query: dict[str, Any]
    keys: list[str]
    first_ms: float
    second_ms: float
    nothing_relevant: bool

    def recall(self, cut: int) -> float:
        relevant = set(self.query["relevant"])
        return len(relevant & set(self.keys[:cut])) / len(relevant)


async def measure(folder: Path, environment: Mapping[str, str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings({"TMWS_HOME": home, **environment}, dotenv=None)
        caller = settings.operator()
        async with open_app(settings) as app:
            keys = await fill(app, caller, [*lines(folder / "memories.jsonl")])
            asked = [await ask(app, caller, query, keys) for query in lines(folder / "queries.jsonl")]
    categories = defaultdict(list)
    for each in asked:
        categories[str(each.query.get("category", ""))].append(each)
    return {
        "set": folder.name,
        "memories": len(keys),
        "queries": len(asked),
        **scores([each for each in asked if each.query["relevant"]]),
        "latency_ms": quantiles([each.second_ms for each in asked]),
        "latency_with_embedding_ms": quantiles([each.first_ms for each in asked]),
        "by_category": {name: {"queries": len(part), **scores(part)} for name, part in sorted(categories.items())},
    }


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


async def fill(app: App, caller: Caller, memories: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Store the memories, and return the keys by memory id: equal texts are one memory with several keys."""
    keys = defaultdict(list)
    for start in range(0, len(memories), BATCH):
        part = memories[start : start + BATCH]
        created = await app.call(caller, CreateMemories(memories=tuple(map(request, part))))
        for memory, result in zip(part, created.results, strict=True):
            keys[result.memory_id].append(memory["key"])
    return dict(keys)


def request(memory: dict[str, Any]) -> CreateMemory:
    fields = {name: memory[name] for name in ("content", "namespace", "session_id", "sequence") if name in memory}
    moment = memory.get("occurred_at")
    return CreateMemory(**fields, occurred_at=None if moment is None else datetime.fromisoformat(moment))


async def ask(app: App, caller: Caller, query: dict[str, Any], keys: Mapping[str, Sequence[str]]) -> Asked:
    wanted = SearchMemories(query=query["query"], namespace=query["namespace"], limit=max(CUTS))
    first: MemoriesFound = await app.call(caller, wanted)
    second = await app.call(caller, wanted)
    found = [key for hit in second.results for key in keys[hit.memory_id]]
    return Asked(query, found, first.latency_ms, second.latency_ms, second.nothing_relevant)


def scores(asked: Sequence[Asked]) -> dict[str, float]:
    figures: dict[str, float] = {"marked": sum(each.nothing_relevant for each in asked)}
    if all(each.query["relevant"] for each in asked):
        figures |= {f"recall@{cut}": sum(each.recall(cut) for each in asked) for cut in CUTS}
        figures[f"any-hit@{max(CUTS)}"] = sum(each.recall(max(CUTS)) > 0 for each in asked)
        figures["first"] = sum(each.keys[0] in each.query["relevant"] for each in asked if each.keys)
    return {name: round(total / max(len(asked), 1), 4) for name, total in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure retrieval on a set.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--embedder", nargs="+", default=["onnx"], metavar=("onnx | ollama", "URL MODEL"))
    parser.add_argument("--postgresql", action="store_true", help="store in PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    match arguments.embedder:
        case ["onnx"]:
            environment = {"TMWS_EMBEDDER": "onnx"}
        case ["ollama", url, model]:
            environment = {"TMWS_EMBEDDER": "ollama", "TMWS_OLLAMA_BASE_URL": url, "TMWS_OLLAMA_MODEL": model}
        case _:
            parser.error("--embedder takes `onnx`, or `ollama URL MODEL`")
    with ExitStack() as stack:
        if arguments.postgresql:
            server = stack.enter_context(own_server())
            environment["TMWS_DATABASE_URL"] = stack.enter_context(server.database())
        print(json.dumps(anyio.run(measure, arguments.folder, environment), indent=2))


if __name__ == "__main__":
    main()
