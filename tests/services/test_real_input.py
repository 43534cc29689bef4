"""Real conversations, imported and asked about through the public API with the bundled model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import stacked
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import load_settings
from tmws_core.messages.memory import CreateMemories, CreateMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.wire import structure

pytestmark = pytest.mark.anyio

LOCOMO = Path(__file__).parents[3] / "shared" / "eval" / "locomo-dev"
"""The set may not be redistributed, so it lies beside the repository."""

FLOOR = 0.77
"""A floor against breakage: plain BM25 reaches 0.62, reciprocal rank fusion 0.67, this search 0.81."""


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@pytest.mark.skipif(not LOCOMO.is_dir(), reason="the LoCoMo set is not beside the repository")
async def test_hybrid_search_finds_the_evidence_in_long_conversations(tmp_path: Path) -> None:
    settings = load_settings(stacked({"TMWS_HOME": str(tmp_path)}), dotenv=None)
    operator = settings.operator()
    keys: dict[str, str] = {}
    async with open_app(settings) as app:
        memories = list(_lines(LOCOMO / "memories.jsonl"))
        for start in range(0, len(memories), 100):
            batch = memories[start : start + 100]
            requests = tuple(
                structure({name: value for name, value in memory.items() if name != "key"}, CreateMemory)
                for memory in batch
            )
            answer = await app.call(operator, CreateMemories(memories=requests))
            for memory, created in zip(batch, answer.results, strict=True):
                keys[created.memory_id] = memory["key"]
        recalls = []
        for question in _lines(LOCOMO / "queries.jsonl"):
            request = SearchMemories(query=question["query"], namespace=question["namespace"], limit=10)
            found = {keys[hit.memory_id] for hit in (await app.call(operator, request)).results}
            recalls.append(len(found & set(question["relevant"])) / len(question["relevant"]))
    assert sum(recalls) / len(recalls) >= FLOOR
