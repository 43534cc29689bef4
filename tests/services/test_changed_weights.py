"""An embedder whose weights change while it is used is found out, and vectors of two models are never mixed."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest

from tests.contracts.ollama_double import Fault, OllamaDouble, ollama_double
from tests.services.conftest import World, mirrored, word_counts
from tests.services.hand_clock import HandClock
from tests.services.model_change import embedded_by, migrate, search, texts_asked
from tests.stacks import FALLBACK, SOURCE, VECTORS
from tmws_adapters.bootstrap import Parts, compose, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.embedding import CANARY
from tmws_core.embedding.store import DOUBT_SECONDS, PROOF_SECONDS
from tmws_core.errors import EmbedderUnavailable, ModelMismatch
from tmws_core.messages.memory import CreateMemory, UpdateMemory
from tmws_core.messages.search import SearchMode
from tmws_core.messages.system import ComponentHealth, HealthCheck
from tmws_core.services.indexing import Indexing

pytestmark = pytest.mark.anyio

CHANGED = "have changed since this process was started"


@attrs.frozen
class Scene:
    """A service that has been used, with the clock of its embedder in hand."""

    world: World
    parts: Parts
    clock: HandClock
    first: str

    @property
    def double(self) -> OllamaDouble:
        return self.world.ollama

    @property
    def vectors(self) -> int:
        ((count,),) = self.world.rows(VECTORS)
        return int(count)

    async def create(self, content: str) -> bool:
        """Store a memory, and return whether it has a vector."""
        return (await self.world.app.call(self.world.operator, CreateMemory(content=content))).embedding_generated

    async def catch_up(self) -> int:
        indexing = Indexing(storage=self.parts.storage, embedder=self.parts.embedder, bus=self.parts.bus)
        return await indexing.embed_some()

    async def embedder(self) -> ComponentHealth:
        return (await self.world.app.call(self.world.operator, HealthCheck())).components["ollama"]

    async def meets_nothing_of_it(self) -> None:
        """Make sure that no vector of the changed weights is stored, or searched with, and that this is said."""
        before = self.vectors
        assert not await self.create("A tulip.")
        changed = UpdateMemory(memory_id=self.first, content="The rose has bloomed.")
        assert not (await self.world.app.call(self.world.operator, changed)).embedding_generated
        found = await search(self.world, "bloomed", SearchMode.SEMANTIC)
        assert (found.search_source, [hit.similarity for hit in found.results]) == (FALLBACK, [None])
        assert CHANGED in (found.degraded or ("",))[0]
        assert self.vectors == before - 1
        component = await self.embedder()
        assert component.status == "down"
        assert CHANGED in (component.reason or "")
        assert "tmws embeddings migrate" in (component.reason or "")

    async def is_whole_again(self) -> None:
        """Make sure that what waited gets its vectors now that the former weights are back."""
        assert await self.catch_up() == 2
        found = await search(self.world, "A tulip.", SearchMode.SEMANTIC)
        assert found.search_source == SOURCE
        assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)
        assert (await self.embedder()).status == "up"


@asynccontextmanager
async def scene_of(settings: Settings, double: OllamaDouble) -> AsyncIterator[Scene]:
    async with open_parts(settings) as parts:
        clock = HandClock()
        parts.embedder.clock = clock
        world = World(compose(settings, parts), settings, double)
        first = await world.app.call(world.operator, CreateMemory(content="The rose blooms."))
        yield Scene(world, parts, clock, first.memory_id)


@pytest.fixture
async def scene(settings: Settings, ollama: OllamaDouble) -> AsyncIterator[Scene]:
    async with scene_of(settings, ollama) as opened:
        yield opened


async def test_other_weights_of_the_same_name_and_digest_are_noticed_within_a_minute_of_use(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    assert await scene.create("Bread needs salt.")
    scene.double.vectors = mirrored
    scene.clock.seconds += PROOF_SECONDS
    with caplog.at_level(logging.INFO, "tmws"):
        await scene.meets_nothing_of_it()
        assert caplog.text.count(CHANGED) == 1

        scene.double.vectors = word_counts
        scene.clock.seconds += DOUBT_SECONDS
        await scene.is_whole_again()
    assert caplog.text.count("fits the store again") == 1


async def test_after_the_change_to_the_new_weights_a_running_service_compares_their_vectors(scene: Scene) -> None:
    assert await scene.create("Bread needs salt.")
    assert (await search(scene.world, "bread salt", SearchMode.SEMANTIC)).search_source == SOURCE
    scene.double.vectors = mirrored
    scene.clock.seconds += PROOF_SECONDS
    assert (await search(scene.world, "bread", SearchMode.SEMANTIC)).search_source == FALLBACK

    assert (await migrate(scene.world.settings, scene.double)).switched
    scene.clock.seconds += DOUBT_SECONDS

    found = await search(scene.world, "Bread needs salt.", SearchMode.SEMANTIC)
    assert found.search_source == SOURCE
    assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_another_digest_is_told_by_health_at_once_and_noticed_by_the_next_use(scene: Scene) -> None:
    digest, asked = scene.double.digest, len(texts_asked(scene.double))
    scene.double.digest = "other weights"
    component = await scene.embedder()
    assert CHANGED in (component.reason or "")
    assert len(texts_asked(scene.double)) == asked
    await scene.meets_nothing_of_it()

    scene.double.digest = digest
    scene.clock.seconds += DOUBT_SECONDS
    await scene.is_whole_again()


async def test_another_digest_is_noticed_where_nobody_asks_for_the_health(scene: Scene) -> None:
    scene.double.digest = "other weights"
    scene.clock.seconds += PROOF_SECONDS
    await scene.meets_nothing_of_it()


async def test_a_server_that_has_other_weights_after_a_restart_is_noticed_by_the_first_call(scene: Scene) -> None:
    for word in ("rose", "blooms"):
        scene.double.stop()
        scene.double.vectors = mirrored
        scene.double.start()
        assert (await search(scene.world, word, SearchMode.SEMANTIC)).search_source == FALLBACK
        scene.double.stop()
        scene.double.vectors = word_counts
        scene.double.start()
        scene.clock.seconds += DOUBT_SECONDS
        assert (await search(scene.world, word, SearchMode.SEMANTIC)).search_source == SOURCE
    scene.double.stop()
    scene.double.vectors = mirrored
    scene.double.start()
    await scene.meets_nothing_of_it()


async def test_weights_that_changed_while_the_server_was_down_are_noticed_by_the_first_call(scene: Scene) -> None:
    scene.double.stop()
    assert not await scene.create("Bread needs salt.")
    scene.double.vectors = mirrored
    scene.double.start()
    await scene.meets_nothing_of_it()


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.MALFORMED, Fault.CUT_OFF, Fault.SERVER_ERROR])
async def test_after_a_failed_call_the_weights_are_proved_again(scene: Scene, fault: Fault) -> None:
    scene.double.fail_next(fault, 4)
    await scene.create("Bread needs salt.")
    scene.double.forgive()
    asked = len(texts_asked(scene.double))
    await scene.create("Trains leave at noon.")
    again = texts_asked(scene.double)[asked:]
    # A text that is refused by a server that works says nothing of the model.
    assert again == ([] if fault is Fault.SERVER_ERROR else ["word", CANARY]) + ["Trains leave at noon."]


async def test_a_canary_that_is_refused_sets_no_text_aside(scene: Scene) -> None:
    scene.double.fail_next(Fault.UNAUTHORIZED, 2)
    assert not await scene.create("Bread needs salt.")
    scene.double.forgive()
    scene.double.fail_next(Fault.SERVER_ERROR)
    with pytest.raises(EmbedderUnavailable):
        await scene.parts.embedder.passages(["A tulip."])
    scene.double.fail_next(Fault.SERVER_ERROR, 2)
    indexing = Indexing(storage=scene.parts.storage, embedder=scene.parts.embedder, bus=scene.parts.bus)
    with pytest.raises(EmbedderUnavailable):
        await indexing.embed_some()
    assert await indexing.embed_some() == 1
    assert len(indexing.aside) == 0


async def test_another_dimension_is_another_model(scene: Scene) -> None:
    def shorter(texts: Sequence[str]) -> list[list[float]]:
        return [row[:32] for row in word_counts(texts)]

    scene.double.vectors = shorter
    assert not await scene.create("Bread needs salt.")
    await scene.meets_nothing_of_it()

    scene.double.vectors = word_counts
    scene.clock.seconds += DOUBT_SECONDS
    assert await scene.catch_up() == 3


async def test_weights_that_change_in_the_middle_of_a_call_over_a_lost_connection_are_noticed(scene: Scene) -> None:
    await search(scene.world, "anything")
    scene.double.fail_next(Fault.DROPPED)

    def changing(texts: Sequence[str]) -> list[list[float]]:
        return mirrored(texts) if scene.double.asked("/api/embed")[-1].body else word_counts(texts)

    scene.double.vectors = changing
    assert not await scene.create("Bread needs salt.")


async def test_the_proof_costs_a_canary_a_minute_and_nothing_between(scene: Scene) -> None:
    asked = len(texts_asked(scene.double))
    for second in range(50):
        scene.clock.seconds += 1
        await search(scene.world, f"word {second}", SearchMode.SEMANTIC)
    assert CANARY not in texts_asked(scene.double)[asked:]
    scene.clock.seconds += PROOF_SECONDS
    for second in range(5):
        await search(scene.world, f"another {second}", SearchMode.SEMANTIC)
    assert texts_asked(scene.double)[asked:].count(CANARY) == 1


async def test_a_question_asked_of_the_changed_weights_is_asked_again_when_the_former_are_back(scene: Scene) -> None:
    scene.double.vectors = mirrored
    await search(scene.world, "The rose blooms.", SearchMode.SEMANTIC)
    scene.clock.seconds += PROOF_SECONDS
    assert (await search(scene.world, "any other", SearchMode.SEMANTIC)).search_source == FALLBACK

    scene.double.vectors = word_counts
    scene.clock.seconds += DOUBT_SECONDS
    found = await search(scene.world, "The rose blooms.", SearchMode.SEMANTIC)
    assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_a_question_that_was_asked_before_is_answered_by_meaning_while_the_server_is_down(scene: Scene) -> None:
    await search(scene.world, "rose", SearchMode.SEMANTIC)
    scene.double.stop()
    assert not await scene.create("Bread needs salt.")
    assert (await search(scene.world, "rose", SearchMode.SEMANTIC)).search_source == SOURCE


async def test_a_store_that_was_changed_to_the_new_weights_is_served_without_a_restart(
    settings: Settings, scene: Scene
) -> None:
    scene.double.vectors = mirrored
    scene.clock.seconds += PROOF_SECONDS
    assert not await scene.create("Bread needs salt.")
    assert (await migrate(settings, scene.double)).switched

    scene.clock.seconds += DOUBT_SECONDS
    found = await search(scene.world, "Bread needs salt.", SearchMode.SEMANTIC)
    assert found.search_source == SOURCE
    assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)
    assert await scene.create("A tulip.")


async def test_a_first_use_that_was_refused_is_tried_again_when_the_former_weights_are_back(
    settings: Settings, scene: Scene
) -> None:
    with ollama_double(model=scene.double.model, vectors=mirrored) as double:
        async with open_parts(embedded_by(settings, double)) as parts:
            clock = HandClock()
            parts.embedder.clock = clock
            assert "other weights" in (await refusal(parts))
            double.vectors = word_counts
            clock.seconds += DOUBT_SECONDS
            assert (await parts.embedder.query("rose")).dimension == 64


async def refusal(parts: Parts) -> str:
    with pytest.raises(ModelMismatch) as raised:
        await parts.embedder.query("rose")
    return raised.value.problem
