"""Commits that take seconds, since another process holds the lock of the file meanwhile."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.journal import Journal, check, note, settings_of
from tests.shells.serving import PATIENCE, HttpServer, http_server
from tmws_core.messages.memory import ALL

pytestmark = [pytest.mark.anyio, pytest.mark.embedded("the file is locked")]

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("freed", flush=True)
"""

WRITERS = 6

REQUEST_SECONDS = 4
"""What a request may take; half of it is for the lock."""

HASTE = {"TMWS_REQUEST_TIMEOUT": str(REQUEST_SECONDS)}


@contextmanager
def held(database: Path) -> Iterator["subprocess.Popen[str]"]:
    """Let another process hold the lock that writers need, until it reads a line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def free(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "freed\n"


def store(server: HttpServer, content: str) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}/mcp/tools/create_memory", json={"content": content}, timeout=PATIENCE)
    body: dict[str, Any] = answer.json()
    return body


def note_down(journal: Journal, contents: list[str], answers: list["Future[dict[str, Any]]"]) -> list[str]:
    """Note what was acknowledged, and return the codes of what was refused."""
    refusals = []
    for content, answer in zip(contents, answers, strict=True):
        body = answer.result(PATIENCE)
        if body["success"]:
            journal.acknowledge(body["memory_id"], content)
        else:
            refusals.append(body["error"]["code"])
    return refusals


def read_for(server: HttpServer, seconds: float, content: str, longest: float) -> None:
    """Read and search again and again; none may take longer than that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        started = time.monotonic()
        found = server.call("search_memories", query=content.split(maxsplit=1)[0], max_chars=ALL).json()
        assert content in [hit["content"] for hit in found["results"]]
        assert server.call("list_memories", limit=1).json()["memories"]
        assert server.client.get("/health").json()["status"] == "healthy"
        assert time.monotonic() - started < longest


async def test_readers_go_on_and_writers_wait_and_succeed(
    home: Path, chance: random.Random, embedding: dict[str, str]
) -> None:
    journal = Journal()
    contents = [note("waiting", number) for number in range(WRITERS)]
    with http_server(home, **embedding) as server, ThreadPoolExecutor(WRITERS) as threads:
        first = note("first", 0)
        journal.acknowledge(store(server, first)["memory_id"], first)
        with held(home / "tmws.db") as holder:
            answers = [threads.submit(store, server, content) for content in contents]
            read_for(server, chance.uniform(2, 4), first, longest=2)
            assert not any(answer.done() for answer in answers)
            free(holder)
            assert note_down(journal, contents, answers) == []
        server.stop()

    assert await check(settings_of(home, **embedding), journal, [first, *contents], chance) == 0


async def test_writers_that_have_waited_for_too_long_are_told_so_and_leave_nothing_half_done(
    home: Path, chance: random.Random, embedding: dict[str, str]
) -> None:
    journal = Journal()
    contents = [note("late", number) for number in range(WRITERS)]
    with http_server(home, **embedding, **HASTE) as server, ThreadPoolExecutor(WRITERS) as threads:
        first = note("first", 0)
        journal.acknowledge(store(server, first)["memory_id"], first)
        with held(home / "tmws.db") as holder:
            answers = [threads.submit(store, server, content) for content in contents]
            started = time.monotonic()
            refusals = note_down(journal, contents, answers)
            assert time.monotonic() - started < 3 * REQUEST_SECONDS
            assert (len(refusals), set(refusals)) == (WRITERS, {"storage_busy", "timeout"})
            read_for(server, 0.1, first, longest=2)
            free(holder)
        last = note("last", 0)
        journal.acknowledge(store(server, last)["memory_id"], last)
        server.stop()

    assert await check(settings_of(home, **embedding), journal, [first, last, *contents], chance) == 0
