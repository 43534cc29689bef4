"""What works while a part does not, and what happens when it is back."""

import anyio
import attrs
import pytest

from tests.contracts.ollama_double import Fault, OllamaDouble, ollama_double
from tests.services.conftest import World
from tests.services.model_change import embedded_by
from tests.stacks import FALLBACK, stacked
from tmws_adapters.bootstrap import open_app, open_parts
from tmws_adapters.settings import Settings, load_settings
from tmws_core.errors import ModelMismatch
from tmws_core.messages.memory import CreateMemory, GetMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories, SearchMode
from tmws_core.messages.system import GetSystemStats, HealthCheck
from tmws_core.services.indexing import Indexing

pytestmark = pytest.mark.anyio


async def test_without_its_embedder_the_service_stores_finds_by_words_and_says_so(world: World) -> None:
    athena = world.agent("athena")
    world.ollama.stop()
    created = await world.app.call(athena, CreateMemory(content="The rose blooms."))
    assert (created.embedding_generated, created.embedding_latency_ms) == (False, 0.0)
    for mode in SearchMode:
        found = await world.app.call(athena, SearchMemories(query="rose", mode=mode))
        assert [hit.memory_id for hit in found.results] == [created.memory_id]
    found = await world.app.call(athena, SearchMemories(query="rose"))
    assert found.search_source == FALLBACK
    assert "ollama" in (found.degraded or ("",))[0]
    health = await world.app.call(athena, HealthCheck())
    assert (health.status, health.ollama, health.database) == ("degraded", "disconnected", "connected")
    assert "ollama serve" in (health.components["ollama"].reason or "")
    assert (await world.app.call(world.operator, HealthCheck())).components["ollama"].lag == 1
    assert (await world.app.call(athena, GetSystemStats())).unembedded == 1


async def test_texts_get_their_vectors_when_the_embedder_is_back(settings: Settings, ollama: OllamaDouble) -> None:
    ollama.stop()
    async with open_app(settings) as app:
        athena = settings.agent("test")
        created = await app.call(athena, CreateMemory(content="The rose blooms."))
        changed = await app.call(athena, CreateMemory(content="The tulip blooms."))
        await app.call(athena, UpdateMemory(memory_id=changed.memory_id, content="The lily blooms."))
    ollama.start()
    async with open_parts(settings) as parts:
        indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
        assert await indexing.embed_some() == 2
        assert await indexing.embed_some() == 0
    async with open_app(settings) as app:
        found = await app.call(athena, SearchMemories(query="The rose blooms.", mode=SearchMode.SEMANTIC))
        assert found.results[0].memory_id == created.memory_id
        assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_an_open_service_catches_up_by_itself(world: World) -> None:
    athena = world.agent("athena")
    world.ollama.stop()
    created = await world.app.call(athena, CreateMemory(content="The rose blooms."))
    world.ollama.start()
    with anyio.fail_after(60):
        while not (await world.app.call(athena, GetMemory(memory_id=created.memory_id))).memory.embedded:
            await world.app.call(athena, CreateMemory(content=f"Another, at {anyio.current_time()}."))


async def test_a_store_is_not_opened_with_another_model(settings: Settings, world: World) -> None:
    await world.app.call(world.agent("athena"), CreateMemory(content="The rose blooms."))
    other = load_settings(stacked({"TMWS_HOME": str(settings.home)}), dotenv=None)
    with pytest.raises(ModelMismatch) as refusal:
        async with open_app(other):
            pass
    assert world.ollama.model in refusal.value.message


async def test_the_same_name_with_other_weights_is_another_model(settings: Settings, world: World) -> None:
    await world.app.call(world.agent("athena"), CreateMemory(content="The rose blooms."))
    with ollama_double(model=world.ollama.model, digest="other-weights") as retrained:
        changed = embedded_by(settings, retrained)
        async with open_app(changed) as app:
            with pytest.raises(ModelMismatch):
                await app.call(changed.agent("test"), SearchMemories(query="rose"))
            with pytest.raises(ModelMismatch):
                await app.call(changed.agent("test"), CreateMemory(content="A tulip."))


async def test_an_app_closes_cleanly_while_its_embedder_is_down(settings: Settings, ollama: OllamaDouble) -> None:
    ollama.stop()
    with anyio.fail_after(60):
        async with open_app(settings) as app:
            await app.call(settings.agent("test"), CreateMemory(content="The rose blooms."))


async def test_an_error_inside_the_block_is_raised_as_it_is(settings: Settings) -> None:
    with pytest.raises(KeyError):
        async with open_app(settings):
            raise KeyError


async def test_an_embedder_that_hangs_holds_up_neither_storing_nor_searching(
    settings: Settings, ollama: OllamaDouble
) -> None:
    hasty = attrs.evolve(settings, request_timeout=2.0)
    ollama.fail_next(Fault.HUNG, times=10)
    async with open_app(hasty) as app:
        created = await app.call(hasty.agent("test"), CreateMemory(content="The rose blooms."))
        found = await app.call(hasty.agent("test"), SearchMemories(query="rose"))
    assert not created.embedding_generated
    assert [hit.memory_id for hit in found.results] == [created.memory_id]
    assert "no vector within" in (found.degraded or ("",))[0]


async def test_a_text_that_the_model_refuses_holds_up_no_other(settings: Settings, ollama: OllamaDouble) -> None:
    ollama.stop()
    async with open_app(settings) as app:
        for content in ("One.", "Two.", "Three."):
            await app.call(settings.agent("test"), CreateMemory(content=content))
    ollama.start()
    async with open_parts(settings) as parts:
        await parts.embedder.model()
        ollama.fail_next(Fault.NAN_ERROR, times=2)
        await Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus).embed_some()
        assert (await parts.storage.health()).unembedded == 1
