"""What the benchmarks share: texts and vectors from hashed words, a service over them, and how times are told."""

import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import attrs
import numpy as np
import numpy.typing as npt

from tests.licences import UNLIMITED
from tmws_adapters.bootstrap import Parts, compose, open_parts
from tmws_adapters.settings import Settings, load_settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.messages.search import SearchMemories
from tmws_core.ports.embedder import EmbedderHealth

DIMENSION = 384
VOCABULARY = 20_000
SEED = 7


async def seconds_to_load(parts: Parts, app: App, caller: Caller) -> float:
    """Return how long it takes from the first search until the vectors are in memory; somebody must load them."""
    started = time.perf_counter()
    await app.call(caller, SearchMemories(query=text(random.Random(SEED), 6)))
    while not ((await parts.vectors.health()) or {}).get("kept"):  # noqa: ASYNC110 - nobody tells
        await anyio.sleep(0.1)
    return round(time.perf_counter() - started, 1)


@attrs.frozen
class HashedWords:
    """An embedder that costs next to nothing: the sum of a pseudo-random direction per word.

    Its vectors lie further apart than those of language models, which is the hard case for an approximate index.
    """

    directions: npt.NDArray[np.float32]

    @classmethod
    def seeded(cls) -> "HashedWords":
        return cls(np.random.default_rng(SEED).standard_normal((VOCABULARY, DIMENSION)).astype(np.float32))

    @property
    def epoch(self) -> None:
        return None

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        return [Vector(self.row(text).tobytes()) for text in texts]

    async def query(self, text: str) -> Vector:
        return Vector(self.row(text).tobytes())

    async def familiarity(self, text: str) -> float:  # noqa: ARG002 - every word has a direction
        return 1.0

    async def model(self) -> EmbeddingModel:
        return EmbeddingModel(name="hashed-words", dimension=DIMENSION)

    async def health(self) -> EmbedderHealth:
        return EmbedderHealth(kind="benchmark", model="hashed-words", up=True)

    def row(self, text: str) -> npt.NDArray[np.float32]:
        numbers = [int(word[1:]) for word in text.split() if word[1:].isdigit()] or [0]
        total = self.directions[numbers].sum(axis=0)
        norm: npt.NDArray[np.float32] = total / np.linalg.norm(total)
        return norm


def text(chance: random.Random, words: int) -> str:
    """Return words whose frequencies fall as in natural language (Zipf)."""
    ranks = (int(VOCABULARY ** chance.random()) - 1 for _ in range(words))
    return " ".join(f"w{rank}" for rank in ranks)


@asynccontextmanager
async def open_service(home: Path, embedder: HashedWords) -> AsyncIterator[tuple[App, Settings]]:
    settings = load_settings({"TMWS_HOME": str(home), **UNLIMITED}, dotenv=None)
    async with open_parts(settings) as parts:
        parts.embedder.inner = embedder
        yield compose(settings, parts), settings


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that the work took."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile, rounded."""
    high = sorted(times)[min(len(times) - 1, int(len(times) * 0.95))]
    return {"p50": round(statistics.median(times), 2), "p95": round(high, 2)}
