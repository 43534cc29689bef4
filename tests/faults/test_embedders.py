"""A server whose Ollama is dead, hangs, or comes and goes: it stores, finds, and says what was missing."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.ollama_double import Fault, OllamaDouble
from tests.faults.journal import Journal, check, note, settings_of
from tests.shells.owners import until
from tests.shells.serving import HttpServer, http_server
from tests.stacks import FALLBACK
from tmws_core.messages.memory import ALL

pytestmark = pytest.mark.anyio

REQUEST_SECONDS = 4
"""What a request may take here; half of it is for the embedder."""

HASTE = {"TMWS_REQUEST_TIMEOUT": str(REQUEST_SECONDS)}


def store(server: HttpServer, journal: Journal, content: str, importance: float) -> bool:
    """Store a memory and return whether it has its vector."""
    answer = server.call("create_memory", content=content, importance=importance).json()
    assert answer["success"], answer
    journal.acknowledge(answer["memory_id"], content)
    return bool(answer["embedding_generated"])


def search(server: HttpServer, content: str) -> dict[str, Any]:
    """Search for a note by its first word, within the time that a search has."""
    return found_in_time(server, content, query=content.split(maxsplit=1)[0])


def search_by_meaning(server: HttpServer, content: str) -> dict[str, Any]:
    return found_in_time(server, content, query=content, mode="semantic")


def found_in_time(server: HttpServer, content: str, **request: str) -> dict[str, Any]:
    started = time.monotonic()
    found: dict[str, Any] = server.call("search_memories", **request, max_chars=ALL).json()
    assert time.monotonic() - started < REQUEST_SECONDS
    assert found["success"], found
    assert content in [hit["content"] for hit in found["results"]]
    return found


def waiting(server: HttpServer) -> int:
    number: int = server.call("get_system_stats").json()["unembedded"]
    return number


async def test_what_is_stored_while_ollama_is_dead_is_found_by_words_and_embedded_by_importance_later(
    home: Path, chance: random.Random, embedding: dict[str, str], ollama: OllamaDouble
) -> None:
    journal = Journal()
    contents = [note("dead", number) for number in range(100)]
    importance = {content: chance.randrange(1000) / 1000 for content in contents}
    ollama.stop()
    with http_server(home, **embedding, **HASTE) as server:
        for content in contents:
            assert not store(server, journal, content, importance[content])
            found = search(server, content)
            assert found["search_source"] == FALLBACK
            assert found["degraded"]
        assert server.client.get("/health").json()["ollama"] == "disconnected"
        asked = len(ollama.requests)
        ollama.start()
        until(lambda: waiting(server) == 0)
        texts = [text for request in ollama.requests[asked:] for text in request.body.get("input", [])]
        assert "degraded" not in search_by_meaning(server, contents[0])
        until(lambda: server.client.get("/health").json()["status"] == "healthy")
        server.stop()

    order = [importance[text] for text in texts if text in importance]
    assert order == sorted(importance.values(), reverse=True)
    assert await check(settings_of(home, **embedding), journal, contents, chance) == 0


async def test_a_hanging_ollama_holds_up_no_search_longer_than_its_deadline(
    home: Path, chance: random.Random, embedding: dict[str, str], ollama: OllamaDouble
) -> None:
    journal = Journal()
    contents = [note("hanging", number) for number in range(20)]
    with http_server(home, **embedding, **HASTE) as server:
        assert store(server, journal, contents[0], 0.5)
        ollama.fail_next(Fault.HUNG, 1000)
        for content in contents[1:]:
            assert not store(server, journal, content, chance.random())
            assert search(server, content)["degraded"]
            assert search_by_meaning(server, content)["degraded"]
        ollama.stop()
        ollama.forgive()
        ollama.start()
        until(lambda: waiting(server) == 0)
        assert "degraded" not in search_by_meaning(server, contents[-1])
        server.stop()

    assert await check(settings_of(home, **embedding), journal, contents, chance) == 0


async def test_an_ollama_that_comes_and_goes_makes_no_answer_wrong(
    home: Path, chance: random.Random, embedding: dict[str, str], ollama: OllamaDouble
) -> None:
    journal = Journal()
    contents = [note("flapping", number) for number in range(120)]
    faults = [Fault.DROPPED, Fault.CUT_OFF, Fault.BUSY, Fault.MALFORMED, Fault.SERVER_ERROR, Fault.TOO_FEW, Fault.ZERO]
    with http_server(home, **embedding, **HASTE) as server:
        for content in contents:
            match chance.randrange(10):
                case 0:
                    ollama.stop()
                case 1 | 2:
                    ollama.fail_next(chance.choice(faults), chance.randrange(1, 4))
                case 3 | 4 | 5:
                    ollama.stop()
                    ollama.start()
            store(server, journal, content, chance.random())
            search(server, content)
        ollama.stop()
        ollama.forgive()
        ollama.start()
        until(lambda: waiting(server) == 0)
        for content in chance.sample(contents, 20):
            request = {"query": content, "mode": "semantic", "limit": 1, "explain": True, "max_chars": ALL}
            hits = server.call("search_memories", **request).json()["results"]
            assert [(hit["content"], hit["similarity"]) for hit in hits] == [(content, pytest.approx(1.0, abs=1e-3))]
        server.stop()

    assert await check(settings_of(home, **embedding), journal, contents, chance) == 0


async def test_the_log_says_once_that_the_embedder_fails_and_once_that_it_is_back_and_tells_no_secret(
    home: Path, embedding: dict[str, str], ollama: OllamaDouble
) -> None:
    embedding["TMWS_OLLAMA_BASE_URL"] = ollama.url.replace("://", "://ada:s3cret@") + "?token=t0ken"
    log = home / "tmws.log"
    with http_server(home, **embedding, **HASTE, TMWS_LOG_FILE=str(log), TMWS_LOG_FORMAT="json") as server:
        assert server.call("create_memory", content="The first.").json()["embedding_generated"]
        ollama.stop()
        for number in range(4):
            assert not server.call("create_memory", content=f"Down {number}.").json()["embedding_generated"]
        ollama.start()
        until(lambda: "degraded" not in search_by_meaning(server, "The first."))
        server.stop()

    text = log.read_text("utf-8")
    lines = [json.loads(line)["message"] for line in text.splitlines()]
    assert [sum(part in line for line in lines) for part in ("Embedder down", "Embedder back after")] == [1, 1]
    assert "does not answer" in text
    assert "s3cret" not in text
    assert "t0ken" not in text
