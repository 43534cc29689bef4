"""What the Ollama embedder does beyond the contract: every error has its words, and what helps is tried again."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import anyio
import anyio.lowlevel
import attrs
import numpy as np
import pytest

from tests.contracts.ollama_double import (
    DIGEST,
    MODEL,
    Fault,
    OllamaDouble,
    bundled_vectors,
    hashed_vectors,
    ollama_double,
)
from tmws_adapters.ollama import open_ollama
from tmws_adapters.ollama.connection import CONNECTIONS
from tmws_adapters.ollama.embedder import PASSAGE_REQUESTS
from tmws_adapters.onnx import open_onnx
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.errors import ConfigurationError, EmbedderUnavailable, ModelNotFound
from tmws_core.ports.embedder import Embedder

pytestmark = pytest.mark.anyio

TEXTS = ["one text", "another text", "a third one"]
PLAIN_MODEL = "nomic-embed-text"
BRIEF = timedelta(milliseconds=100)
LONG = timedelta(seconds=30)


def opened(
    url: str, model: str = MODEL, *, limit: timedelta = LONG, load_limit: timedelta = LONG
) -> AbstractAsyncContextManager[Embedder]:
    return open_ollama(url, model, timeout=limit, load_timeout=load_limit, retry_base=timedelta(milliseconds=1))


def values(vector: Vector) -> list[float]:
    return [float(value) for value in np.frombuffer(vector.data, dtype="<f4")]


@pytest.fixture(params=["modern", "older"])
def double(request: pytest.FixtureRequest) -> Iterator[OllamaDouble]:
    with ollama_double(modern=request.param == "modern") as running:
        yield running


@pytest.fixture
async def embedder(double: OllamaDouble) -> AsyncIterator[Embedder]:
    async with opened(double.url) as embedder:
        yield embedder


@pytest.mark.parametrize(
    ("fault", "words", "remedy"),
    [
        (Fault.NAN_ERROR, "400: embedding contains NaN", "TMWS_OLLAMA_MODEL"),
        (Fault.CONTEXT_LENGTH, "400: the input length exceeds the context length", "TMWS_OLLAMA_MODEL"),
        (Fault.INVALID_INPUT, "400: invalid input type", "TMWS_OLLAMA_MODEL"),
        (Fault.UNAUTHORIZED, "401: unauthorized", "name and password in TMWS_OLLAMA_BASE_URL"),
        (Fault.SERVER_ERROR, "500: llama runner process has terminated", "log of `ollama serve`"),
        (Fault.MALFORMED, "no JSON object", "TMWS_OLLAMA_BASE_URL"),
        (Fault.NOT_AN_OBJECT, "no JSON object", "TMWS_OLLAMA_BASE_URL"),
        (Fault.NO_EMBEDDINGS, "embedding", "TMWS_OLLAMA_MODEL"),
        (Fault.EMPTY, "empty embedding", "TMWS_OLLAMA_MODEL"),
        (Fault.NOT_A_NUMBER, "not finite", "TMWS_OLLAMA_MODEL"),
        (Fault.OVERFLOWING, "something else than numbers", "TMWS_OLLAMA_MODEL"),
        (Fault.TEXT, "something else than numbers", "TMWS_OLLAMA_MODEL"),
        (Fault.ZERO, "zero or not finite", "TMWS_OLLAMA_MODEL"),
    ],
)
async def test_bad_answer_is_told_in_its_words_once_and_the_next_call_works(
    double: OllamaDouble, embedder: Embedder, fault: Fault, words: str, remedy: str
) -> None:
    await embedder.query("first")
    before = len(double.requests)
    double.fail_next(fault)
    with pytest.raises(EmbedderUnavailable) as raised:
        await embedder.query("second")
    assert raised.value.part == "ollama"
    assert words in raised.value.reason
    assert remedy in raised.value.hint
    assert not isinstance(raised.value, ModelNotFound)
    assert len(double.requests) == before + 1
    assert len(await embedder.passages(TEXTS)) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [(Fault.TOO_FEW, "2 embeddings for 3 texts"), (Fault.RAGGED, "mixes embeddings of 63 and 64 values")],
)
async def test_batch_with_a_wrong_number_of_embeddings_or_values_is_refused(fault: Fault, words: str) -> None:
    with ollama_double() as double:
        double.fail_next(fault)
        async with opened(double.url) as embedder:
            with pytest.raises(EmbedderUnavailable, match=words):
                await embedder.passages(TEXTS)


async def test_embeddings_of_another_dimension_than_before_are_refused(
    double: OllamaDouble, embedder: Embedder
) -> None:
    await embedder.query("first")
    double.fail_next(Fault.SHORTER)
    with pytest.raises(EmbedderUnavailable, match="63 values, those before had 64"):
        await embedder.query("second")


async def test_model_that_is_not_pulled_is_not_found(double: OllamaDouble) -> None:
    async with opened(double.url, "some/other-model") as embedder:
        with pytest.raises(ModelNotFound) as raised:
            await embedder.query("text")
        assert raised.value.hint == "Run `ollama pull some/other-model`"
        health = await embedder.health()
        assert not health.up
        assert "ollama pull some/other-model" in health.reason


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.DROPPED, Fault.CUT_OFF])
async def test_busy_server_and_lost_connection_are_tried_again(
    double: OllamaDouble, embedder: Embedder, fault: Fault
) -> None:
    double.fail_next(fault, times=3)
    assert (await embedder.query("text")).dimension == 64


async def test_server_that_stays_busy_is_given_up(double: OllamaDouble, embedder: Embedder) -> None:
    double.fail_next(Fault.BUSY, times=4)
    with pytest.raises(EmbedderUnavailable, match="503: server busy") as raised:
        await embedder.query("text")
    assert "OLLAMA_MAX_QUEUE" in raised.value.hint
    assert (await embedder.query("text")).dimension == 64


async def test_connection_that_is_always_lost_is_given_up(double: OllamaDouble, embedder: Embedder) -> None:
    double.fail_next(Fault.DROPPED, times=4)
    with pytest.raises(EmbedderUnavailable, match="does not answer"):
        await embedder.query("text")


async def test_stopped_server_is_unreachable_until_it_runs_again(double: OllamaDouble, embedder: Embedder) -> None:
    await embedder.query("before")
    double.stop()
    with pytest.raises(EmbedderUnavailable) as raised:
        await embedder.query("meanwhile")
    assert raised.value.code == "embedder_unavailable"
    assert raised.value.hint == "Start it with `ollama serve`, or check TMWS_OLLAMA_BASE_URL"
    health = await embedder.health()
    assert not health.up
    assert "ollama serve" in health.reason
    double.start()
    assert (await embedder.query("after")).dimension == 64
    assert (await embedder.health()).up


async def test_repetitions_end_with_the_timeout() -> None:
    with ollama_double() as double:
        double.fail_next(Fault.BUSY, times=100)
        async with open_ollama(double.url, MODEL, load_timeout=BRIEF, retry_base=timedelta(hours=1)) as embedder:
            with pytest.raises(EmbedderUnavailable, match=r"within 0\.1 seconds"):
                await embedder.query("text")


async def test_first_answer_may_take_as_long_as_loading_the_model(double: OllamaDouble) -> None:
    double.fail_next(Fault.SLOW)
    async with opened(double.url, limit=BRIEF) as embedder:
        assert (await embedder.query("cold")).dimension == 64


async def test_late_answer_is_not_waited_for_once_the_model_is_loaded(double: OllamaDouble) -> None:
    async with opened(double.url, limit=BRIEF) as embedder:
        await embedder.query("cold")
        double.fail_next(Fault.SLOW)
        with pytest.raises(EmbedderUnavailable, match=r"no answer from .* within 0\.1 seconds"):
            await embedder.query("warm")


async def test_model_may_be_loaded_again_after_a_late_answer(double: OllamaDouble) -> None:
    async with opened(double.url, limit=BRIEF) as embedder:
        await embedder.query("cold")
        double.fail_next(Fault.SLOW, times=2)
        with pytest.raises(EmbedderUnavailable):
            await embedder.query("unloaded meanwhile")
        assert (await embedder.query("loaded again")).dimension == 64


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
async def test_blank_text_is_refused_before_it_is_sent(double: OllamaDouble, embedder: Embedder, blank: str) -> None:
    with pytest.raises(EmbedderUnavailable, match="blank text has no embedding"):
        await embedder.passages(["text", blank])
    assert double.requests == []


async def test_many_texts_are_sent_in_batches_of_sixteen() -> None:
    texts = [f"text {number}" for number in range(40)]
    with ollama_double() as double:
        async with opened(double.url) as embedder:
            assert len(await embedder.passages(texts)) == 40
        assert [len(request.body["input"]) for request in double.asked("/api/embed")] == [16, 16, 8]
        assert all(request.body["truncate"] is True for request in double.requests)


async def test_older_server_is_asked_for_the_modern_route_until_the_older_one_answered() -> None:
    with ollama_double(modern=False) as double:
        async with opened(double.url) as embedder:
            await embedder.passages(TEXTS)
            await embedder.passages(TEXTS)
        assert len(double.asked("/api/embed")) == 1
        assert len(double.asked("/api/embeddings")) == 6


async def test_vectors_of_modern_and_older_servers_are_the_same() -> None:
    found = []
    for modern in (True, False):
        with ollama_double(modern=modern) as double:
            async with opened(double.url) as embedder:
                found.append(values(await embedder.query("text")))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


async def test_server_without_any_route_for_embeddings_is_no_ollama() -> None:
    with ollama_double() as double:
        async with opened(f"{double.url}/somewhere") as embedder:
            with pytest.raises(EmbedderUnavailable, match="does not know /somewhere/api/embeddings") as raised:
                await embedder.query("text")
            assert not isinstance(raised.value, ModelNotFound)
            assert not (await embedder.health()).up


@pytest.mark.parametrize("model", [MODEL, "E5-small:q8_0", "intfloat_e5.base"])
async def test_e5_model_gets_the_prefixes_it_was_trained_with(model: str) -> None:
    with ollama_double(model=model) as double:
        async with opened(double.url, model) as embedder:
            await embedder.query("why")
            await embedder.passages(["because"])
        assert [request.body["input"] for request in double.requests] == [["query: why"], ["passage: because"]]


@pytest.mark.parametrize("model", [PLAIN_MODEL, "type5-embed"])
async def test_other_model_gets_texts_as_they_are(model: str) -> None:
    with ollama_double(model=model) as double:
        async with opened(double.url, model) as embedder:
            await embedder.query("why")
            await embedder.passages(["because"])
        assert [request.body["input"] for request in double.requests] == [["why"], ["because"]]


@pytest.mark.parametrize("asked", [PLAIN_MODEL, f"{PLAIN_MODEL}:latest"])
@pytest.mark.parametrize("pulled", [PLAIN_MODEL, f"{PLAIN_MODEL}:latest"])
async def test_latest_is_the_tag_of_a_model_without_one(asked: str, pulled: str) -> None:
    with ollama_double(model=pulled) as double:
        async with opened(double.url, asked) as embedder:
            assert (await embedder.health()).up
            assert await embedder.model() == EmbeddingModel(name=asked, dimension=64, digest=DIGEST)


async def test_another_tag_is_another_model() -> None:
    with ollama_double(model=f"{PLAIN_MODEL}:v1") as double:
        async with opened(double.url, PLAIN_MODEL) as embedder:
            assert not (await embedder.health()).up


async def test_identity_is_that_of_the_model_that_is_there_now(double: OllamaDouble, embedder: Embedder) -> None:
    before = await embedder.model()
    double.digest, double.vectors = "other weights", lambda texts: hashed_vectors(texts, 32)
    assert (await embedder.health()).digest == "other weights"
    assert await embedder.model() == attrs.evolve(before, digest="other weights", dimension=32)
    assert (await embedder.query("word")).dimension == 32


async def test_connection_that_was_lost_begins_an_epoch_and_one_more_at_once_does_not(
    double: OllamaDouble, embedder: Embedder
) -> None:
    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(embedder.query, "word")
    assert embedder.epoch == 0
    for epoch in (1, 2):
        double.stop()
        double.start()
        await embedder.query("word")
        await embedder.query("word")
        assert embedder.epoch == epoch
    double.fail_next(Fault.DROPPED)
    await embedder.query("word")
    assert embedder.epoch == 3


async def test_health_asks_for_no_embedding(double: OllamaDouble, embedder: Embedder) -> None:
    await embedder.health()
    assert [request.path for request in double.requests] == ["/api/tags"]


async def test_password_is_sent_but_neither_logged_nor_raised(
    double: OllamaDouble, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with opened(double.url.replace("//", "//somebody:hunter2@")) as embedder:
            await embedder.query("text")
            double.stop()
            with pytest.raises(EmbedderUnavailable) as raised:
                await embedder.query("text")
            health = await embedder.health()
    assert double.requests[0].headers["Authorization"].startswith("Basic ")
    told = f"{raised.value} {health} {caplog.text}"
    assert double.url in told
    assert "hunter2" not in told
    assert "somebody" not in told


@pytest.mark.parametrize("url", ["", "localhost:11434", "ftp://host", "http://", "http://host:port", "/api"])
async def test_malformed_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        async with open_ollama(url, MODEL):
            pytest.fail("opened")
    assert raised.value.field == "TMWS_OLLAMA_BASE_URL"


async def test_proxies_of_the_environment_are_not_used(double: OllamaDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    with ollama_double() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with opened(double.url) as embedder:
            await embedder.query("confidential")
        assert proxy.requests == []


async def test_calls_beyond_the_connections_wait_for_their_turn(double: OllamaDouble, embedder: Embedder) -> None:
    answers: dict[int, Vector] = {}

    async def ask(number: int) -> None:
        answers[number] = await embedder.query(f"text {number}")

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(ask, number)
    expected = hashed_vectors([f"query: text {number}" for number in range(40)])
    for number, row in enumerate(expected):
        assert values(answers[number]) == pytest.approx([value / np.linalg.norm(row) for value in row], abs=1e-6)
    assert len(double.requests) >= 40


async def test_a_question_does_not_wait_for_passages(double: OllamaDouble, embedder: Embedder) -> None:
    await embedder.query("first")
    before = len(double.requests)
    double.fail_next(Fault.HUNG, times=2 * CONNECTIONS)
    async with anyio.create_task_group() as group:
        for number in range(2 * CONNECTIONS):
            group.start_soon(embedder.passages, [f"text {number}"])
        with anyio.fail_after(60):
            while len(double.requests) < before + PASSAGE_REQUESTS:
                await anyio.lowlevel.checkpoint()
            double.forgive()
            await embedder.query("second")
        assert len(double.requests) == before + PASSAGE_REQUESTS + 1
        group.cancel_scope.cancel()


async def test_double_can_answer_with_the_vectors_of_the_bundled_model() -> None:
    with ollama_double(model=PLAIN_MODEL, vectors=bundled_vectors) as double:
        async with opened(double.url, PLAIN_MODEL) as from_ollama, open_onnx() as bundled:
            one, other = await from_ollama.query("The same text"), await bundled.query("The same text")
    assert values(one) == pytest.approx(values(other), abs=1e-5)
