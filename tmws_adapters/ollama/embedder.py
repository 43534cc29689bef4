"""The embedder that asks an Ollama server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio

from tmws_adapters.ollama.answers import (
    PART,
    AnswerLate,
    RouteMissing,
    digest_in,
    not_pulled,
    vectors_in,
    wrong_dimension,
)
from tmws_adapters.ollama.connection import Connection, open_connection
from tmws_core.domain.embedding import EmbeddingModel, Vector, prefixes_of
from tmws_core.errors import EmbedderUnavailable, EmbeddingRefused
from tmws_core.ports.embedder import Embedder, EmbedderHealth

BATCH_TEXTS = 16
"""Texts of one request: the server answers when the last is done, so a large batch outlasts the timeout on a CPU."""

PASSAGE_REQUESTS = 2
"""Requests for passages at once: Ollama computes one text of an embedding model at a time (`server/sched.go`), so that
one is computed while the other is on its way, and a question waits there behind two of them at most."""

HEALTH_TIMEOUT = timedelta(seconds=2)
"""For the list of models, which a server keeps at hand."""


@asynccontextmanager
async def open_ollama(
    base_url: str,
    model: str,
    *,
    timeout: timedelta = timedelta(seconds=10),  # noqa: ASYNC109 - bounds each request, not this function
    load_timeout: timedelta = timedelta(seconds=120),
    retry_base: timedelta = timedelta(milliseconds=100),
) -> AsyncIterator[Embedder]:
    """Open an embedder over a model of an Ollama server; the server need not run yet.

    A request ends within `timeout`, its repetitions included. It has `load_timeout` until one has succeeded, and again
    after one came too late: the server loads a model when it is asked for, in seconds to minutes, and drops an idle
    one. The wait before the first repetition is at most `retry_base`, and this bound doubles each time. Texts get the
    prefixes `query: ` and `passage: ` where `e5` is a word of the model's name. ConfigurationError if `base_url` is
    malformed.
    """
    async with open_connection(base_url, model, retry_base) as connection:
        yield _OllamaEmbedder(connection, timeout, load_timeout)


class _OllamaEmbedder:
    def __init__(self, connection: Connection, timeout: timedelta, load_timeout: timedelta) -> None:
        self._connection = connection
        self._name = connection.model
        self._timeout = timeout
        self._load_timeout = load_timeout
        self._prefixes = prefixes_of(self._name)
        self._passages = anyio.CapacityLimiter(PASSAGE_REQUESTS)
        self._loaded = False
        self._one_by_one = False
        self._dimension: int | None = None

    @property
    def epoch(self) -> int:
        return self._connection.reconnects.count

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        _refuse_blank(texts)
        vectors: list[Vector] = []
        for start in range(0, len(texts), BATCH_TEXTS):
            # Nobody's time runs before the request is made.
            async with self._passages:
                vectors += await self._embed(texts[start : start + BATCH_TEXTS], self._prefixes.passage)
        return vectors

    async def query(self, text: str) -> Vector:
        _refuse_blank([text])
        return (await self._embed([text], self._prefixes.query))[0]

    async def familiarity(self, text: str) -> float:  # noqa: ARG002 - Ollama does not show its tokenizer
        return 1.0

    async def model(self) -> EmbeddingModel:
        self._dimension = None
        dimension = (await self.query("word")).dimension
        tags = await self._connection.get("/api/tags", self._timeout)
        return EmbeddingModel(name=self._name, dimension=dimension, digest=digest_in(tags, self._name) or "")

    async def health(self) -> EmbedderHealth:
        digest, reason = None, ""
        try:
            digest = digest_in(await self._connection.get("/api/tags", HEALTH_TIMEOUT), self._name)
        except EmbedderUnavailable as error:
            reason = error.message
        else:
            reason = not_pulled(self._name).message if digest is None else ""
        return EmbedderHealth(kind="ollama", model=self._name, up=not reason, digest=digest or "", reason=reason)

    async def _embed(self, texts: Sequence[str], prefix: str) -> list[Vector]:
        return [self._checked(vector) for vector in await self._batch([prefix + text for text in texts])]

    async def _batch(self, texts: list[str]) -> list[Vector]:
        if not self._one_by_one:
            try:
                answer = await self._post("/api/embed", {"input": texts, "truncate": True})
                return vectors_in(answer.get("embeddings"), len(texts))
            except RouteMissing:
                pass
        # Servers before 0.3 embed one text a request.
        answers = [await self._post("/api/embeddings", {"prompt": text}) for text in texts]
        self._one_by_one = True
        return vectors_in([answer.get("embedding") for answer in answers], len(texts))

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        limit = self._timeout if self._loaded else self._load_timeout
        try:
            answer = await self._connection.post(path, {"model": self._name, **body}, limit)
        except AnswerLate:
            self._loaded = False
            raise
        self._loaded = True
        return answer

    def _checked(self, vector: Vector) -> Vector:
        if self._dimension is None:
            self._dimension = vector.dimension
        elif self._dimension != vector.dimension:
            raise wrong_dimension(self._dimension, vector.dimension)
        return vector


def _refuse_blank(texts: Sequence[str]) -> None:
    if not all(map(str.strip, texts)):
        raise EmbeddingRefused(part=PART, reason="a blank text has no embedding")
