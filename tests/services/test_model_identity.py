"""The embedding model of a store is recognised by its canary, and no other one is let near its vectors."""

from typing import Any

import pytest

from tests.contracts.ollama_double import OllamaDouble
from tests.services.conftest import World, mirrored
from tests.services.model_change import create, embedded_by, search, texts_asked
from tests.stacks import FALLBACK
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.domain.embedding import CANARY
from tmws_core.errors import ModelMismatch
from tmws_core.messages.memory import CreateMemory, GetMemory, ListMemories
from tmws_core.messages.search import SearchMemories
from tmws_core.messages.system import HealthCheck

pytestmark = pytest.mark.anyio

REMEDY = "tmws embeddings migrate"


async def test_the_canary_is_stored_with_the_first_vector(world: World) -> None:
    await search(world, "anything")
    assert world.rows("SELECT count(*) FROM embedding_models") == [(0,)]

    await create(world, "The rose blooms.")

    assert world.rows("SELECT canary_text, length(canary_vector) FROM embedding_models") == [(CANARY, 4 * 64)]


async def test_a_store_without_a_canary_gets_it_from_the_next_embedder_that_fits(
    settings: Settings, world: World, ollama: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    world.change("UPDATE embedding_models SET canary_text = NULL, canary_vector = NULL")

    async with open_app(settings) as app:
        await search(World(app, settings, ollama), "rose")

    assert world.rows("SELECT canary_text FROM embedding_models") == [(CANARY,)]


async def test_other_weights_under_the_same_name_and_digest_are_recognised(
    settings: Settings, world: World, ollama: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    ollama.vectors = mirrored

    async with open_app(settings) as app:
        for request in (SearchMemories(query="rose"), CreateMemory(content="A tulip.")):
            with pytest.raises(ModelMismatch) as refusal:
                await app.call_wire(world.operator, *named(request))
            assert "other weights" in refusal.value.problem
            assert REMEDY in refusal.value.remedy
        assert len((await app.call(world.operator, ListMemories())).memories) == 1
        health = await app.call(world.operator, HealthCheck())
        assert health.status == "degraded"
        assert REMEDY in (health.components["ollama"].reason or "")


def named(request: SearchMemories | CreateMemory) -> tuple[str, dict[str, Any]]:
    match request:
        case SearchMemories(query=query):
            return "search_memories", {"query": query}
        case CreateMemory(content=content):
            return "create_memory", {"content": content}


async def test_the_start_embeds_nothing_and_an_embedder_that_is_down_is_no_other_model(
    settings: Settings, world: World, ollama: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    asked = len(texts_asked(ollama))

    async with open_app(settings) as app:
        assert len(texts_asked(ollama)) == asked
        ollama.stop()
        created = await app.call(world.operator, CreateMemory(content="A tulip."))
        found = await app.call(world.operator, SearchMemories(query="rose"))

    assert not created.embedding_generated
    assert (found.search_source, len(found.results)) == (FALLBACK, 1)


async def test_a_store_of_another_model_can_be_read_but_not_served(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    (memory_id,) = await create(world, "The rose blooms.")
    other = embedded_by(settings, target)

    with pytest.raises(ModelMismatch) as refusal:
        async with open_app(other):
            pass
    assert REMEDY in refusal.value.message

    async with open_app(other, any_model=True) as app:
        assert len((await app.call(other.operator(), ListMemories())).memories) == 1
        assert (await app.call(other.operator(), GetMemory(memory_id=memory_id))).memory.embedded
        assert (await app.call(other.operator(), HealthCheck())).status == "degraded"
        with pytest.raises(ModelMismatch):
            await app.call(other.operator(), CreateMemory(content="A tulip."))
    assert texts_asked(target) == ["word", CANARY]
