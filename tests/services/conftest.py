"""The whole app over a real store; vectors come from an Ollama double that counts words, so that tests are fast."""

import re
import shutil
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.contracts.ollama_double import OllamaDouble, ollama_double
from tests.licences import UNLIMITED
from tests.stacks import change, rows, stacked
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings, load_settings
from tmws_adapters.sqlite import open_sqlite
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.search import SearchMemories


@attrs.frozen
class World:
    """An open app, the settings it was opened with, and its embedder."""

    app: App
    settings: Settings
    ollama: OllamaDouble

    @property
    def operator(self) -> Caller:
        return self.settings.operator()

    def agent(self, agent_id: str, namespace: str = "acme") -> Caller:
        return Caller(agent_id=agent_id, namespace=namespace, transport="python")

    async def pages(self, request: SearchMemories) -> list[str]:
        """Return the ids of the hits on all pages of a search by athena, in their order."""
        seen: list[str] = []
        while True:
            found = await self.app.call(self.agent("athena"), request)
            seen += [hit.memory_id for hit in found.results]
            if found.next_cursor is None:
                return seen
            request = attrs.evolve(request, cursor=found.next_cursor)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return rows(self.settings, sql)

    def change(self, sql: str) -> None:
        change(self.settings, sql)


def word_counts(texts: Sequence[str]) -> list[list[float]]:
    """Return a vector a text in which texts with common words are near, so that nearness can be foretold."""
    rows = []
    for text in texts:
        row = [0.01] * 64
        for word in re.findall(r"\w+", text.lower()):
            row[zlib.crc32(word.encode()) % 64] += 1
        rows.append(row)
    return rows


def mirrored(texts: Sequence[str]) -> list[list[float]]:
    """Return the vectors of another model with as many values: the same nearness, and no likeness to the first."""
    return [row[::-1] for row in word_counts(texts)]


@pytest.fixture(scope="session")
async def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "tmws.db"
    async with open_sqlite(path):
        pass
    return path


@pytest.fixture
def ollama() -> Iterator[OllamaDouble]:
    with ollama_double(model="word-counter", vectors=word_counts) as double:
        yield double


@pytest.fixture
def target() -> Iterator[OllamaDouble]:
    with ollama_double(model="mirror", digest="other weights", vectors=mirrored) as double:
        yield double


@pytest.fixture
def settings(tmp_path: Path, empty_store: Path, ollama: OllamaDouble) -> Settings:
    shutil.copy(empty_store, tmp_path / "tmws.db")
    given = {"TMWS_OLLAMA_BASE_URL": ollama.url, "TMWS_OLLAMA_MODEL": ollama.model, **UNLIMITED}
    return load_settings(stacked({"TMWS_HOME": str(tmp_path), **given}), dotenv=None)


@pytest.fixture
async def world(settings: Settings, ollama: OllamaDouble) -> AsyncIterator[World]:
    async with open_app(settings) as app:
        yield World(app, settings, ollama)
