"""A disk that fills up under a server, and is emptied again."""

import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.journal import Journal, check, note, settings_of
from tests.servers.disk import mounted
from tests.shells.command import Command
from tests.shells.owners import until
from tests.shells.serving import HttpServer, conversation, http_server, tool
from tmws_core.messages.memory import ALL

pytestmark = [pytest.mark.anyio, pytest.mark.embedded("the disk of the file is full")]

MEBIBYTE = 1024 * 1024

DISK = 64 * MEBIBYTE
BALLAST = 58 * MEBIBYTE

LONG = " and so on" * 1000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, DISK):
        yield disk


def store(server: HttpServer, journal: Journal, content: str) -> dict[str, Any]:
    """Store a memory, and return the answer."""
    answer: dict[str, Any] = server.call("create_memory", content=content).json()
    if answer["success"]:
        journal.acknowledge(answer["memory_id"], content)
    return answer


def fill(server: HttpServer, journal: Journal, sent: list[str]) -> dict[str, Any]:
    """Store until that is refused, and return the refusal."""
    while True:
        sent.append(note("full", len(sent)) + LONG)
        answer = store(server, journal, sent[-1])
        if not answer["success"]:
            error: dict[str, Any] = answer["error"]
            return error


def read_everything(server: HttpServer, journal: Journal) -> None:
    for memory_id, content in list(journal.entries.items())[-5:]:
        assert server.call("get_memory", memory_id=memory_id, max_chars=ALL).json()["memory"]["content"] == content
        found = server.call("search_memories", query=content.split()[0], max_chars=ALL).json()
        assert content in [hit["content"] for hit in found["results"]]


async def test_a_full_disk_refuses_writes_alone_and_is_over_without_a_restart(
    small_disk: Path, chance: random.Random, embedding: dict[str, str]
) -> None:
    home, ballast = small_disk / "home", small_disk / "ballast"
    journal, sent = Journal(), list[str]()
    command = Command(small_disk).using(**embedding)
    ballast.write_bytes(bytes(BALLAST))
    with http_server(home, **embedding) as server, conversation(home, **embedding) as terminal:
        for _ in range(3):
            refusal = fill(server, journal, sent)
            assert refusal["code"] == "storage_full"
            read_everything(server, journal)
            told = terminal.ask(tool(1, "create_memory", content=f"terminal{LONG}"))["result"]["structuredContent"]
            assert told["error"]["code"] == "storage_full"
            component = server.client.get("/health").json()["components"]["sqlite"]
            assert "Free some space" in component.get("reason", ""), component
        assert "0 MiB free → Free some space" in command.run("doctor").out
        ballast.unlink()
        sent.append("There is room again.")
        assert store(server, journal, sent[-1])["success"]
        until(lambda: server.client.get("/health").json()["status"] == "healthy")
        server.stop()

    assert await check(settings_of(home, **embedding), journal, sent, chance) == 0


async def test_a_file_that_may_not_grow_refuses_writes_alone_and_is_over_without_a_restart(
    home: Path, chance: random.Random, embedding: dict[str, str]
) -> None:
    journal, sent = Journal(), list[str]()
    with http_server(home, **embedding) as server:
        process = server.process.pid
        before = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (2 * MEBIBYTE, before[1]))
        for _ in range(3):
            refusal = fill(server, journal, sent)
            assert refusal["code"] == "storage_unavailable"
            read_everything(server, journal)
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)
        sent.append("There is room again.")
        assert store(server, journal, sent[-1])["success"]
        server.stop()

    assert await check(settings_of(home, **embedding), journal, sent, chance) == 0
