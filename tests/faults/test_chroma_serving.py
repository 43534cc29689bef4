"""A server whose Chroma directory is damaged, before it starts or while it serves."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.test_chroma_faults import (
    cut_header_off,
    delete,
    overwrite_database,
    scramble_database,
)
from tests.faults.journal import Journal, check, note, settings_of
from tests.shells import serving
from tests.shells.command import Command
from tests.shells.owners import until
from tests.shells.serving import HttpServer, http_server
from tests.stacks import FALLBACK

pytestmark = pytest.mark.anyio

MEMORIES = 40


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HTTP", [sys.executable, "-m", "tests.faults.eager_chroma"])


@pytest.fixture
def chroma(embedding: dict[str, str]) -> dict[str, str]:
    return {**embedding, "TMWS_VECTOR_BACKEND": "chroma"}


def store(server: HttpServer, journal: Journal, number: int) -> None:
    content = note("chroma", number)
    answer = server.call("create_memory", content=content).json()
    assert answer["embedding_generated"], answer
    journal.acknowledge(answer["memory_id"], content)


def fill(server: HttpServer, journal: Journal) -> None:
    for number in range(MEMORIES):
        store(server, journal, number)


def find_everything(server: HttpServer, journal: Journal) -> set[str]:
    """Find each memory by meaning, as the nearest of all, and return where the answers came from."""
    sources = set()
    for memory_id, content in journal.entries.items():
        found = server.call("search_memories", query=content, mode="semantic", limit=3).json()
        assert found["results"][0]["memory_id"] == memory_id, found
        sources.add(found["search_source"])
    return sources


def component(server: HttpServer) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get("/health").json()["components"]["chroma"]
    return found


def is_indexed(server: HttpServer, number: int) -> bool:
    held: int = server.call("get_system_stats").json()["index"].get("indexed", 0)
    return held == number


def settle(server: HttpServer, journal: Journal) -> bool:
    """Wait until the index has healed by itself, which is True, or says what to do about it."""
    found: dict[str, Any] = {}

    def is_settled() -> bool:
        found.update(component(server))
        return found["status"] == "down" or is_indexed(server, len(journal.entries))

    until(is_settled)
    assert found["status"] == "up" or "tmws index rebuild" in found["reason"]
    return bool(found["status"] == "up")


async def restore(home: Path, chroma: dict[str, str], journal: Journal) -> None:
    """Start anew, after what the doctor says to do, and check that the index is used again."""
    command = Command(home.parent).using(**chroma)
    if "tmws index rebuild" in command.run("doctor").out:
        command.ok("index", "rebuild")
    with http_server(home, **chroma) as server:
        until(lambda: is_indexed(server, len(journal.entries)))
        assert find_everything(server, journal) == {"chroma"}
        server.stop()


@pytest.mark.parametrize("damage", [cut_header_off, scramble_database])
async def test_damage_before_the_start_makes_no_answer_wrong_and_heals_or_is_told(
    home: Path, chroma: dict[str, str], chance: random.Random, damage: Callable[[Path], None]
) -> None:
    journal = Journal()
    with http_server(home, **chroma) as server:
        fill(server, journal)
        until(lambda: is_indexed(server, MEMORIES))
        assert find_everything(server, journal) == {"chroma"}
        server.stop()
    damage(home / "chroma")
    with http_server(home, **chroma) as server:
        find_everything(server, journal)
        store(server, journal, MEMORIES)
        healed = settle(server, journal)
        assert find_everything(server, journal) == {"chroma" if healed else FALLBACK}
        server.stop()
    if not healed:
        await restore(home, chroma, journal)

    assert await check(settings_of(home, **chroma), journal, journal.entries.values(), chance) == 0


@pytest.mark.parametrize("damage", [delete, overwrite_database])
async def test_damage_while_it_serves_makes_no_answer_wrong_and_heals_or_is_told(
    home: Path, chroma: dict[str, str], chance: random.Random, damage: Callable[[Path], None]
) -> None:
    journal = Journal()
    with http_server(home, **chroma) as server:
        fill(server, journal)
        until(lambda: is_indexed(server, MEMORIES))
        damage(home / "chroma")
        for number in range(MEMORIES, MEMORIES + 5):
            store(server, journal, number)
            find_everything(server, journal)
        healed = settle(server, journal)
        assert find_everything(server, journal) == {"chroma" if healed else FALLBACK}
        server.stop()
    if not healed:
        await restore(home, chroma, journal)

    assert await check(settings_of(home, **chroma), journal, journal.entries.values(), chance) == 0
