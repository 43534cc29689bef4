"""Requests to Redis and Ollama that are cancelled at any of their waits: nobody gets another one's answer."""

import asyncio
import os

import anyio
import pytest

from tests.contracts.interrupting import TURNS, WAYS, Work, interruptions
from tests.contracts.ollama_double import ollama_double
from tests.contracts.redis_steps import POOL, running, url_of
from tmws_adapters.ollama import open_ollama
from tmws_adapters.ollama.connection import CONNECTIONS
from tmws_adapters.redis.server import Server
from tmws_core.errors import TmwsError

pytestmark = pytest.mark.anyio

ROUNDS = 5 * int(os.environ.get("TMWS_FAULT_ROUNDS", "1"))
"""How often each wait is struck."""

LIMIT = 60
"""Seconds that only a hang reaches."""


async def struck(work: Work, neighbour: Work, way: str) -> None:
    """Interrupt work at each of its waits, while a neighbour does the same unharmed."""
    failed: list[BaseException] = []
    done = anyio.Event()

    async def go_on() -> None:
        while not done.is_set() and not failed:
            try:
                await neighbour()
            except (TmwsError, AssertionError) as error:
                failed.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        for _ in range(ROUNDS):
            async for error in interruptions(work, way):
                assert error is None or isinstance(error, asyncio.CancelledError), error
        done.set()
    assert failed == []


async def together(number: int, work: Work) -> None:
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            for _ in range(number):
                tasks.start_soon(work)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["redis_server", "redis_cluster"])
async def test_nobody_reads_the_rest_of_an_answer_of_redis(request: pytest.FixtureRequest, kind: str, way: str) -> None:
    async with running(url_of(request, kind)) as redis:
        await said(redis.server, "given up")
        await said(redis.server, "neighbour")
        await struck(lambda: said(redis.server, "given up"), lambda: said(redis.server, "neighbour"), way)

        await together(POOL, lambda: said(redis.server, "neighbour"))


async def said(server: Server, word: str) -> None:
    """Have the server repeat a text that comes in several parts."""
    text = (word * 20_000).encode()
    assert await server.command("EVAL", "return {KEYS[1], ARGV[1]}", 1, word, text) == [word.encode(), text]


@pytest.mark.parametrize("way", ["scope", TURNS])
async def test_nobody_gets_the_vectors_of_a_request_to_ollama_that_was_given_up(way: str) -> None:
    with ollama_double() as double:
        async with open_ollama(double.url, double.model) as embedder:
            texts = ["one text", "another text"]
            expected = {text: (await embedder.passages([text]))[0] for text in texts}

            async def embed(text: str) -> None:
                assert await embedder.passages([text]) == [expected[text]]

            await struck(lambda: embed(texts[0]), lambda: embed(texts[1]), way)

            await together(2 * CONNECTIONS, lambda: embed(texts[1]))
