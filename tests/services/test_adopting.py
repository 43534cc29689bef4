"""Vectors that were made before the model changed are not stored after it, whoever stores them."""

import threading
from collections.abc import Sequence

import anyio
import pytest

from tests.contracts.ollama_double import OllamaDouble
from tests.services.conftest import World, mirrored, word_counts
from tests.services.hand_clock import HandClock
from tests.services.model_change import create, migrate
from tests.stacks import VECTORS
from tmws_adapters.bootstrap import Parts, open_parts
from tmws_adapters.settings import Settings
from tmws_core.embedding.store import PROOF_SECONDS
from tmws_core.errors import ModelReplaced
from tmws_core.messages.memory import CreateMemory
from tmws_core.services.indexing import Indexing

pytestmark = pytest.mark.anyio

LIMIT = 30
"""Seconds that only a hang reaches."""


def indexing(parts: Parts) -> Indexing:
    return Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)


async def test_what_waited_for_its_vector_gets_none_of_the_former_model_after_the_switch(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    async with open_parts(settings) as parts:
        await parts.embedder.query("word")
        world.ollama.stop()
        created = await world.app.call(world.operator, CreateMemory(content="A tulip."))
        assert not created.embedding_generated
        asked, switched = threading.Event(), threading.Event()

        def late(texts: Sequence[str]) -> list[list[float]]:
            if "A tulip." in texts:
                asked.set()
                assert switched.wait(LIMIT)
            return word_counts(texts)

        world.ollama.vectors = late
        world.ollama.start()
        stored = list[int]()

        async def catch_up() -> None:
            stored.append(await indexing(parts).embed_some())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(catch_up)
            assert await anyio.to_thread.run_sync(asked.wait, LIMIT)
            await migrate(settings, target)
            # As if the tulip had been stored a moment later, and waited still.
            world.change("DELETE FROM embeddings WHERE document = (SELECT max(document) FROM memories_v2)")
            world.change("UPDATE memories_v2 SET model = NULL WHERE content = 'A tulip.'")
            switched.set()

        assert stored == [0]
        assert world.rows(VECTORS) == [(1,)]


async def test_what_was_embedded_before_the_weights_were_found_changed_is_not_stored(
    settings: Settings, world: World
) -> None:
    await create(world, "The rose blooms.")
    async with open_parts(settings) as parts:
        clock = HandClock()
        parts.embedder.clock = clock
        since = parts.embedder.changes
        assert await parts.embedder.passages(["A tulip."])
        world.ollama.vectors = mirrored
        clock.seconds += PROOF_SECONDS
        with pytest.raises(ModelReplaced):
            await parts.embedder.query("word")
        async with parts.storage.write() as unit:
            assert not await parts.embedder.adopt(unit, since)


async def test_what_was_embedded_before_the_store_went_over_to_new_weights_is_not_stored(
    settings: Settings, world: World
) -> None:
    await create(world, "The rose blooms.")
    async with open_parts(settings) as parts:
        clock = HandClock()
        parts.embedder.clock = clock
        since = parts.embedder.changes
        assert await parts.embedder.passages(["A tulip."])
        world.ollama.vectors = mirrored
        assert (await migrate(settings, world.ollama)).switched
        clock.seconds += PROOF_SECONDS
        await parts.embedder.query("word")
        async with parts.storage.write() as unit:
            assert not await parts.embedder.adopt(unit, since)
            assert await parts.embedder.adopt(unit, parts.embedder.changes)
