"""`tmws index`, and the service with the approximate index chosen, as real processes."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.shells.command import Command

NOBODY = "http://127.0.0.1:9"
"""Where no Chroma listens."""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path).using(TMWS_VECTOR_BACKEND="chroma", TMWS_PORT="0")


@contextmanager
def in_use(directory: Path) -> Iterator[None]:
    """Hold the directory as another process would."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "tmws.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_without_an_index_the_commands_say_how_to_have_one(tmp_path: Path) -> None:
    done = Command(tmp_path).run("index", "status")

    assert done.code != 0
    assert "TMWS_VECTOR_BACKEND" in done.err
    assert "Set it to chroma" in done.err


def test_init_says_what_it_made(command: Command) -> None:
    done = command.using(TMWS_CHROMA_COLLECTION="mine", TMWS_CHROMA_HNSW_M="24").ok("index", "init")

    assert done.out.splitlines() == [
        "Initializing Chroma collection...",
        "✅ Collection created: mine",
        "✅ HNSW index configured: M=24, ef_construction=200",
        "✅ Distance metric: cosine",
        "✅ Embedding dimension: 384",
    ]


def test_status_tells_the_model_and_what_an_index_is_worth_from(command: Command) -> None:
    before = command.ok("index", "status", "--json").answer
    command.ok("memory", "create", "one")
    command.ok("index", "init")
    after = command.ok("index", "status", "--json").answer

    assert (before["model"], before["worthwhile"]) == (None, None)
    assert (after["documents"], after["waiting"], after["partitions"]) == (0, 0, {})
    assert after["model"]["dimension"] == 384
    assert after["worthwhile"] > 50_000
    assert after["parameters"]["ef_search"] == 100
    assert "exact search is faster" in command.ok("index", "status").out


def test_status_tells_how_many_documents_the_index_may_hold_if_that_is_limited(command: Command) -> None:
    command.ok("index", "init")
    unlimited = command.ok("index", "status", "--json").answer
    limited = command.using(TMWS_CHROMA_CACHE_SIZE="500000")

    assert "cache_size" not in unlimited["parameters"]
    assert limited.ok("index", "status", "--json").answer["parameters"]["cache_size"] == 500_000
    assert "cache_size 500000" in limited.ok("index", "status").out


def test_rebuild_begins_anew_even_on_a_damaged_index(command: Command) -> None:
    command.ok("memory", "create", "one")
    command.ok("index", "init")
    (command.home / "chroma" / "chroma.sqlite3").write_bytes(b"damaged" * 1000)

    assert command.run("index", "status").code == 5
    assert command.ok("index", "rebuild", "--json").answer["model"]["dimension"] == 384
    assert command.ok("index", "status").code == 0


def test_an_index_in_use_elsewhere_is_named_and_does_not_keep_a_search_from_answering(command: Command) -> None:
    command.ok("memory", "create", "A word to be found")
    with in_use(command.home / "chroma"):
        status = command.run("index", "status")
        found = command.ok("memory", "search", "word", "--json").answer
        health = command.ok("system", "health-check", "--json").answer
        doctor = command.run("doctor", "--json")

    assert status.code == 5
    assert "in use by another process" in status.err
    assert [hit["content"] for hit in found["results"]] == ["A word to be found"]
    assert health["status"] == "degraded"
    assert health["components"]["chroma"]["status"] == "down"
    assert "in use by another process" in health["components"]["chroma"]["reason"]
    assert {"vector index": "warning"}.items() <= {
        check["name"]: check["state"] for check in doctor.answer["checks"]
    }.items()


def test_a_server_that_is_not_there_stops_nothing_but_the_index(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = Command(tmp_path).using(TMWS_CHROMA_URL=NOBODY, TMWS_LOG_FILE=str(log))
    command.ok("memory", "create", "A word to be found")
    assert "⚠️ Vector index chroma is not ready" in log.read_text(encoding="utf-8")

    found = command.ok("memory", "search", "word", "--json").answer
    health = command.ok("system", "health-check", "--json").answer

    assert len(found["results"]) == 1
    assert health["components"]["chroma"]["status"] == "down"
    assert command.run("index", "rebuild").code == 5
    assert command.ok("system", "get-stats", "--json").answer["memories"] == 1
