"""What works while a part does not, and what happens when it is back."""

import math
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

import anyio
import attrs
import pytest

from tests.contracts.ollama_double import Fault, OllamaDouble, ollama_double
from tests.services.conftest import World, word_counts
from tests.services.model_change import embedded_by
from tests.stacks import FALLBACK, stacked
from tmws_adapters.bootstrap import Parts, open_app, open_parts
from tmws_adapters.settings import Settings, load_settings
from tmws_cli.opening import run
from tmws_core.embedding import vectors_of
from tmws_core.errors import EmbedderUnavailable, ModelMismatch
from tmws_core.messages.memory import CreateMemories, CreateMemory, GetMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories, SearchMode
from tmws_core.messages.system import GetSystemStats, HealthCheck
from tmws_core.ports.storage import Unembedded
from tmws_core.services.indexing import FIRST_ASIDE, Indexing

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
    assert health.components["ollama"].waiting_since is None
    told = (await world.app.call(world.operator, HealthCheck())).components["ollama"]
    stored = await world.app.call(athena, GetMemory(memory_id=created.memory_id))
    assert (told.lag, told.waiting_since) == (1, stored.memory.updated_at)
    assert (await world.app.call(athena, GetSystemStats())).unembedded == 1


async def test_texts_get_their_vectors_when_the_embedder_is_back(settings: Settings, ollama: OllamaDouble) -> None:
    ollama.stop()
    async with open_app(settings) as app:
        athena = settings.agent()
        created = await app.call(athena, CreateMemory(content="The rose blooms."))
        changed = await app.call(athena, CreateMemory(content="The tulip blooms."))
        await app.call(athena, UpdateMemory(memory_id=changed.memory_id, content="The lily blooms."))
    ollama.start()
    async with open_parts(settings) as parts:
        indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
        assert await indexing.embed_some() == 2
        assert await indexing.embed_some() == 0
    async with open_app(settings) as app:
        found = await app.call(athena, SearchMemories(query="The rose blooms.", mode=SearchMode.SEMANTIC, explain=True))
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
                await app.call(changed.agent(), SearchMemories(query="rose"))
            with pytest.raises(ModelMismatch):
                await app.call(changed.agent(), CreateMemory(content="A tulip."))


async def test_an_app_closes_cleanly_while_its_embedder_is_down(settings: Settings, ollama: OllamaDouble) -> None:
    ollama.stop()
    with anyio.fail_after(60):
        async with open_app(settings) as app:
            await app.call(settings.agent(), CreateMemory(content="The rose blooms."))


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
        created = await app.call(hasty.agent(), CreateMemory(content="The rose blooms."))
        found = await app.call(hasty.agent(), SearchMemories(query="rose"))
    assert not created.embedding_generated
    assert [hit.memory_id for hit in found.results] == [created.memory_id]
    assert "no vector within" in (found.degraded or ("",))[0]


async def test_a_command_that_opens_the_store_itself_waits_for_its_model(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.bootstrap.QUERY_TIMEOUT", timedelta(0))
    async with open_app(settings) as app:
        await app.call(settings.agent(), CreateMemory(content="The rose blooms."))
        served = await app.call(settings.operator(), SearchMemories(query="rose"))
    once = await anyio.to_thread.run_sync(run, settings, "search_memories", {"query": "rose"})
    assert "no vector within" in (served.degraded or ("",))[0]
    assert ("degraded" in once, len(once["results"])) == (False, 1)


async def test_a_text_that_the_model_refuses_holds_up_no_other(settings: Settings, ollama: OllamaDouble) -> None:
    ollama.stop()
    async with open_app(settings) as app:
        for content in ("One.", "Two.", "Three."):
            await app.call(settings.agent(), CreateMemory(content=content))
    ollama.start()
    async with open_parts(settings) as parts:
        await parts.embedder.model()
        ollama.fail_next(Fault.NAN_ERROR, times=2)
        await Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus).embed_some()
        assert (await parts.storage.health()).unembedded == 1


def picky(texts: Sequence[str]) -> list[list[float]]:
    """Return vectors, but none that is one for texts that say "refused"."""
    return [[math.nan] * 64 if "refused" in text else row for text, row in zip(texts, word_counts(texts), strict=True)]


@pytest.fixture
async def unembedded(settings: Settings) -> AsyncIterator[tuple[Parts, OllamaDouble]]:
    """Open a store with 100 important texts that the model refuses and 30 others, none of which has a vector yet."""
    with ollama_double(vectors=picky) as double:
        choosy = embedded_by(settings, double)
        double.stop()
        athena = settings.agent()
        drafts = [CreateMemory(content=f"refused {number}", importance=0.9) for number in range(100)]
        drafts += [CreateMemory(content=f"good {number}", importance=0.1) for number in range(30)]
        async with open_app(choosy) as app:
            await app.call(athena, CreateMemories(memories=tuple(drafts)))
        double.start()
        async with open_parts(choosy) as parts:
            yield parts, double


async def test_texts_that_are_refused_do_not_starve_the_others(unembedded: tuple[Parts, OllamaDouble]) -> None:
    parts, double = unembedded
    indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
    embedded = 0
    while some := await indexing.embed_some():
        embedded += some
    assert embedded == 30
    assert len(indexing.aside) == 100
    assert (await parts.storage.health()).unembedded == 100
    asked = len(double.asked("/api/embed"))
    assert await indexing.embed_some() == 0
    assert len(double.asked("/api/embed")) == asked


async def test_an_agent_that_stored_many_texts_keeps_no_other_waiting(
    settings: Settings, ollama: OllamaDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_core.services.indexing.BATCH", 2)
    ollama.stop()
    async with open_app(settings) as app:
        for agent, texts, importance in (("ada", 3, 1.0), ("bob", 2, 0.2), ("zoe", 1, 0.1)):
            drafts = [CreateMemory(content=f"text {number}", importance=importance) for number in range(texts)]
            caller = settings.agent(agent)
            await app.call(caller, CreateMemories(memories=tuple(drafts)))
    ollama.start()
    async with open_parts(settings) as parts:
        indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
        assert await indexing.embed_some() + await indexing.embed_some() == 4
        async with parts.storage.read() as snapshot:
            assert [each.agent_id for each in await snapshot.memories.unembedded(99)] == ["ada", "bob"]


async def test_a_text_that_was_refused_is_tried_again_when_its_time_has_come(
    unembedded: tuple[Parts, OllamaDouble], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, double = unembedded
    indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
    while await indexing.embed_some():
        pass
    monkeypatch.setattr("tmws_core.services.indexing.anyio.current_time", lambda: time.monotonic() + FIRST_ASIDE + 1)
    assert await indexing.embed_some() == 0
    assert len(indexing.aside.waiting()) == 100
    double.vectors = word_counts
    monkeypatch.setattr("tmws_core.services.indexing.anyio.current_time", lambda: time.monotonic() + 4 * FIRST_ASIDE)
    while await indexing.embed_some():
        pass
    assert len(indexing.aside) == 0
    assert (await parts.storage.health()).unembedded == 0


async def test_a_text_that_was_refused_is_tried_again_when_the_embedder_is_reached_anew(
    unembedded: tuple[Parts, OllamaDouble],
) -> None:
    parts, double = unembedded
    indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
    while await indexing.embed_some():
        pass
    assert len(indexing.aside.waiting()) == 100
    double.stop()
    double.vectors = word_counts
    double.start()
    with anyio.fail_after(30):
        while (await parts.storage.health()).unembedded:
            with suppress(EmbedderUnavailable):
                await indexing.embed_some()
            with suppress(EmbedderUnavailable):
                await parts.embedder.query("rose")
    assert len(indexing.aside) == 0


async def test_a_batch_with_refused_texts_has_the_vectors_of_the_others_at_once(settings: Settings) -> None:
    contents = [f"good {number}" for number in range(200)]
    contents[78] = "The rose blooms."
    for place in (0, 77, 199):
        contents[place] = f"refused {place}"
    with ollama_double(vectors=picky) as double:
        choosy = embedded_by(settings, double)
        async with open_app(choosy) as app:
            drafts = tuple(CreateMemory(content=content) for content in contents)
            created = (await app.call(choosy.agent(), CreateMemories(memories=drafts))).results
            without = [place for place, each in enumerate(created) if not each.embedding_generated]
            assert without == [0, 77, 199]
            found = await app.call(
                choosy.agent(), SearchMemories(query="The rose blooms.", mode=SearchMode.SEMANTIC, limit=1)
            )
            assert found.results[0].content == "The rose blooms."
            assert (await app.call(choosy.operator(), GetSystemStats())).unembedded == 3


async def test_a_batch_whose_time_ends_keeps_the_vectors_that_were_made(settings: Settings) -> None:
    ended = threading.Event()

    def stuck(texts: Sequence[str]) -> list[list[float]]:
        if any("hung" in text for text in texts) and not any("refused" in text for text in texts):
            ended.wait()
        return picky(texts)

    with ollama_double(vectors=stuck) as double:
        hasty = attrs.evolve(embedded_by(settings, double), request_timeout=2.0)
        async with open_app(hasty) as app:
            await app.call(hasty.agent(), CreateMemory(content="The model is loaded."))
            drafts = tuple(CreateMemory(content=text) for text in ("good", "refused", "hung one", "hung two"))
            created = (await app.call(hasty.agent(), CreateMemories(memories=drafts))).results
            ended.set()
    assert [each.embedding_generated for each in created] == [True, False, False, False]


async def test_health_tells_how_many_texts_are_refused(settings: Settings) -> None:
    with ollama_double(vectors=picky) as double:
        choosy = embedded_by(settings, double)
        async with open_app(choosy) as app:
            stored = await app.call(choosy.agent(), CreateMemory(content="refused"))
            assert stored.embedding_generated is False
            health = await app.call(choosy.operator(), HealthCheck())
            with anyio.fail_after(60):
                while not health.components["ollama"].note:
                    health = await app.call(choosy.operator(), HealthCheck())
            assert health.components["ollama"].note == (
                "1 text is refused by the model, found by words only, and tried again within the hour"
            )
            assert health.status == "healthy"


async def test_one_text_that_brings_the_embedder_to_a_stop_is_told_from_an_embedder_that_is_down(
    world: World, ollama: OllamaDouble
) -> None:
    async with open_parts(world.settings) as parts:
        texts = [
            Unembedded(document=number, agent_id="test", content=f"text {number}", occurred_at=None)
            for number in range(8)
        ]
        ollama.fail_next(Fault.UNAUTHORIZED)
        assert (await vectors_of(parts.embedder, texts)).keys() == set(range(8))
        ollama.stop()
        with pytest.raises(EmbedderUnavailable):
            await vectors_of(parts.embedder, texts)
        ollama.start()
