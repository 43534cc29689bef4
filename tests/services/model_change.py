"""Changing the model of a service under test, and asking it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contracts.ollama_double import OllamaDouble
from tests.services.conftest import World
from tests.stacks import stacked
from tmws_adapters.bootstrap import open_parts
from tmws_adapters.settings import Settings, load_settings
from tmws_core.messages.memory import CreateMemory
from tmws_core.messages.search import MemoriesFound, SearchMemories, SearchMode
from tmws_core.services.migrating import Migrated, Migrating


def embedded_by(settings: Settings, double: OllamaDouble) -> Settings:
    """Return the settings of the same store with another embedder."""
    names = {"TMWS_OLLAMA_BASE_URL": double.url, "TMWS_OLLAMA_MODEL": double.model}
    return load_settings(stacked({"TMWS_HOME": str(settings.home), **names}), dotenv=None)


@asynccontextmanager
async def migrating(settings: Settings, double: OllamaDouble) -> AsyncIterator[Migrating]:
    async with open_parts(embedded_by(settings, double)) as parts:
        yield Migrating(models=parts.models, embedder=parts.embedder.inner)


async def migrate(settings: Settings, double: OllamaDouble) -> Migrated:
    async with migrating(settings, double) as work:
        return await work.migrate(lambda _done, _total: None)


async def create(world: World, *contents: str) -> list[str]:
    created = [await world.app.call(world.operator, CreateMemory(content=content)) for content in contents]
    return [each.memory_id for each in created]


async def search(world: World, query: str, mode: SearchMode = SearchMode.HYBRID) -> MemoriesFound:
    return await world.app.call(world.operator, SearchMemories(query=query, mode=mode, details=True))


def texts_asked(double: OllamaDouble) -> list[str]:
    return [text for request in double.asked("/api/embed") for text in request.body["input"]]
