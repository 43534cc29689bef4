"""The embedding model of a store is changed while others work, and never mixed with another."""

import math
import threading
from collections.abc import Awaitable, Callable, Sequence

import anyio
import attrs
import pytest

from tests.contracts.ollama_double import Fault, OllamaDouble
from tests.services.conftest import World, mirrored, word_counts
from tests.services.model_change import create, embedded_by, migrate, migrating, search, texts_asked
from tests.stacks import CHANGES, FALLBACK, SOURCE, VECTORS
from tmws_adapters.bootstrap import Parts, compose, open_app, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.embedding import Vector
from tmws_core.errors import EmbedderUnavailable, MigrationRunning, ModelMismatch
from tmws_core.messages.memory import CreateMemory, UpdateMemory
from tmws_core.messages.search import MemoriesFound, SearchMemories, SearchMode
from tmws_core.messages.system import HealthCheck
from tmws_core.ports.storage import Searchable
from tmws_core.ports.vector import Nearest, VectorIndex
from tmws_core.services.indexing import Indexing
from tmws_core.services.migrating import BATCH

pytestmark = pytest.mark.anyio


async def test_after_a_migration_the_new_model_finds_every_memory(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    ids = await create(world, "The rose blooms.", "Trains leave at noon.", "Bread needs salt.")

    done = await migrate(settings, target)

    assert (done.switched, done.embedded, done.refused) == (True, 3, 0)
    assert (done.model.name, done.former and done.former.name) == ("mirror", "word-counter")
    async with open_app(embedded_by(settings, target)) as app:
        found = await search(World(app, settings, target), "Trains leave at noon.", SearchMode.SEMANTIC)
        assert (found.degraded, found.results[0].memory_id) == (None, ids[1])
        assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_a_process_with_the_old_model_goes_on_by_words_and_says_what_to_do(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    ids = await create(world, "The rose blooms.", "Trains leave at noon.")
    assert (await search(world, "rose")).search_source == SOURCE
    asked = len(texts_asked(world.ollama))

    await migrate(settings, target)

    for mode in SearchMode:
        found = await search(world, "rose", mode)
        assert [hit.memory_id for hit in found.results] == ids[:1]
    found = await search(world, "rose", SearchMode.SEMANTIC)
    assert found.search_source == FALLBACK
    assert "Restart TMWS with the embedder set to mirror" in (found.degraded or ("",))[0]
    created = await world.app.call(world.operator, CreateMemory(content="A tulip."))
    changed = await world.app.call(world.operator, UpdateMemory(memory_id=ids[1], content="Trains never leave."))
    assert (created.embedding_generated, changed.embedding_generated) == (False, False)
    assert len(texts_asked(world.ollama)) == asked
    health = await world.app.call(world.operator, HealthCheck())
    assert "Restart TMWS" in (health.components["ollama"].reason or "")
    async with open_parts(embedded_by(settings, target)) as parts:
        indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
        assert await indexing.embed_some() == 2
        assert await parts.storage.integrity() == []


async def test_a_process_that_never_embedded_before_the_switch_goes_on_by_words_too(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    async with open_app(settings) as app:
        await migrate(settings, target)

        found = await app.call(world.operator, SearchMemories(query="rose", explain=True))
        created = await app.call(world.operator, CreateMemory(content="A tulip."))

    assert (found.search_source, len(found.results)) == (FALLBACK, 1)
    assert not created.embedding_generated


async def test_after_a_rollback_the_old_model_works_on_in_the_same_process(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    ids = await create(world, "The rose blooms.", "Trains leave at noon.")
    await search(world, "rose")
    await migrate(settings, target)
    async with open_app(embedded_by(settings, target)) as app:
        later = await app.call(world.operator, CreateMemory(content="Bread needs salt."))
        async with migrating(settings, target) as work:
            await work.roll_back()
        found = await app.call(world.operator, SearchMemories(query="rose", explain=True))
        assert "Restart TMWS with the embedder set to word-counter" in (found.degraded or ("",))[0]

    found = await search(world, "The rose blooms.", SearchMode.SEMANTIC)
    assert (found.degraded, found.results[0].memory_id) == (None, ids[0])
    assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)
    await create(world, "Another, so that what waits is looked for.")
    async with open_parts(settings) as parts:
        await Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus).embed_some()
        assert await parts.storage.integrity() == []
    found = await search(world, "Bread needs salt.", SearchMode.SEMANTIC)
    assert found.results[0].memory_id == later.memory_id


async def test_a_migration_to_the_model_of_the_store_changes_nothing(
    settings: Settings, world: World, ollama: OllamaDouble
) -> None:
    assert not (await migrate(settings, ollama)).switched
    await create(world, "The rose blooms.")
    before = world.rows(f"SELECT * FROM {CHANGES} ORDER BY 1")

    done = await migrate(settings, ollama)

    assert (done.switched, done.embedded, done.model.name) == (False, 0, "word-counter")
    assert world.rows(f"SELECT * FROM {CHANGES} ORDER BY 1") == before


async def test_other_weights_of_the_same_name_are_migrated_to(
    settings: Settings, world: World, ollama: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    ollama.vectors = mirrored

    assert (await migrate(settings, ollama)).switched

    # This process has the old weights in mind: those that it would get now are not the ones that it has compared.
    found = await search(world, "rose")
    assert found.search_source == FALLBACK
    async with open_app(settings) as app:
        found = await search(World(app, settings, ollama), "The rose blooms.", SearchMode.SEMANTIC)
        assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_a_failed_migration_is_taken_up_where_it_ended(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    async with open_parts(settings) as parts:
        app = compose(settings, parts)
        for number in range(2 * BATCH):
            await app.call(world.operator, CreateMemory(content=f"Note {number} of many."))

    def broken_later(texts: Sequence[str]) -> list[list[float]]:
        if f"Note {BATCH + 5} of many." in texts:
            target.fail_next(Fault.UNAUTHORIZED, times=1000)
        return mirrored(texts)

    target.vectors = broken_later
    with pytest.raises(EmbedderUnavailable):
        await migrate(settings, target)
    first = texts_asked(target)
    target.forgive()
    target.vectors = mirrored

    done = await migrate(settings, target)

    assert first.count("Note 1 of many.") == 1
    assert texts_asked(target).count("Note 1 of many.") == 1
    assert (done.switched, done.embedded) == (True, BATCH)


async def test_vectors_prepared_for_another_target_are_dropped(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    async with open_parts(settings) as parts, parts.models.migration() as migration:
        identity = attrs.evolve(await parts.embedder.inner.model(), name="abandoned")
        canary = await parts.storage.canary(await parts.embedder.model())
        assert canary is not None
        await migration.begin(identity, canary)
        await migration.prepare({1: canary.vector})

    done = await migrate(settings, target)

    assert (done.switched, done.embedded) == (True, 1)
    async with open_app(embedded_by(settings, target)) as app:
        found = await search(World(app, settings, target), "The rose blooms.", SearchMode.SEMANTIC)
        assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_a_text_that_the_new_model_refuses_waits_and_holds_up_no_other(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.", "Poison.", "Bread needs salt.")

    def particular(texts: Sequence[str]) -> list[list[float]]:
        return [[math.nan] * 64 if text == "Poison." else row for text, row in zip(texts, mirrored(texts), strict=True)]

    target.vectors = particular
    done = await migrate(settings, target)

    assert (done.switched, done.embedded, done.refused) == (True, 2, 1)
    assert world.rows("SELECT content FROM memories_v2 WHERE model IS NULL") == [("Poison.",)]


async def test_an_embedder_that_refuses_everything_is_given_up_after_one_batch(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, *(f"Note {number}." for number in range(BATCH + 3)))

    def exhausted(texts: Sequence[str]) -> list[list[float]]:
        return [[math.nan] * 64 for _ in texts] if target.asked("/api/embed")[2:] else mirrored(texts)

    target.vectors = exhausted
    with pytest.raises(EmbedderUnavailable):
        await migrate(settings, target)

    assert f"Note {BATCH + 1}." not in texts_asked(target)
    assert (await search(world, "note")).search_source == SOURCE


async def test_weights_that_change_during_a_migration_are_noticed(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")

    def fickle(texts: Sequence[str]) -> list[list[float]]:
        if "The rose blooms." in texts:
            target.vectors = word_counts
        return mirrored(texts)

    target.vectors = fickle
    with pytest.raises(ModelMismatch, match="have changed during the migration"):
        await migrate(settings, target)

    assert (await search(world, "rose")).search_source == SOURCE
    assert (await migrate(settings, target)).embedded == 1


async def test_a_throttled_migration_takes_its_time(settings: Settings, world: World, target: OllamaDouble) -> None:
    await create(world, *(f"Note {number}." for number in range(6)))
    started = anyio.current_time()

    async with migrating(settings, target) as work:
        await work.migrate(lambda _done, _total: None, rate=2)

    assert anyio.current_time() - started > 2.9


async def test_a_text_that_was_embedded_before_the_switch_is_stored_without_its_vector(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    asked, answer = threading.Event(), threading.Event()

    def hesitant(texts: Sequence[str]) -> list[list[float]]:
        asked.set()
        answer.wait(20)
        return word_counts(texts)

    world.ollama.vectors = hesitant
    results: list[bool] = []

    async def write() -> None:
        created = await world.app.call(world.operator, CreateMemory(content="A tulip."))
        results.append(created.embedding_generated)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.to_thread.run_sync(asked.wait, 20)
        await migrate(settings, target)
        answer.set()

    assert results == [False]
    assert world.rows(VECTORS) == [(1,)]


@attrs.frozen
class Meanwhile:
    """A VectorIndex over another one, with something that happens before each of its searches."""

    inner: VectorIndex
    happens: Callable[[], Awaitable[object]]

    @property
    def source(self) -> str:
        return self.inner.source

    @property
    def resolves_scopes(self) -> bool:
        return self.inner.resolves_scopes

    async def search(self, searchable: Searchable, query: Vector, limit: int) -> Nearest:
        await self.happens()
        return await self.inner.search(searchable, query, limit)

    async def health(self) -> dict[str, int]:
        return await self.inner.health()


@pytest.mark.embedded("the vectors are in the memory of the process")
async def test_a_search_that_the_switch_overtakes_answers_by_the_vectors_that_it_has(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.", "Trains leave at noon.")

    async def switch() -> None:
        await migrate(settings, target)

    async with open_parts(settings) as parts:
        before = await searched(settings, parts)
        found = await searched(settings, attrs.evolve(parts, vectors=Meanwhile(parts.vectors, switch)))
        after = await searched(settings, parts)

    assert [hit.similarity for hit in found.results] == [hit.similarity for hit in before.results]
    assert after.search_source == FALLBACK


async def test_a_search_that_the_switch_overtakes_never_meets_vectors_of_the_other_model(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.", "Trains leave at noon.")

    async def switch() -> None:
        await migrate(settings, target)

    async with open_parts(settings) as parts:
        found = await searched(settings, attrs.evolve(parts, vectors=Meanwhile(parts.vectors, switch)))

    assert found.search_source == FALLBACK
    assert "Restart TMWS" in (found.degraded or ("",))[0]
    assert [hit.similarity for hit in found.results] == [None]


async def test_whoever_changes_the_model_meanwhile_is_refused(
    settings: Settings, world: World, target: OllamaDouble
) -> None:
    await create(world, "The rose blooms.")
    await migrate(settings, target)
    async with open_parts(settings) as parts, parts.models.migration(), migrating(settings, world.ollama) as work:
        for change in (work.roll_back, work.forget, lambda: work.migrate(lambda _done, _total: None)):
            with pytest.raises(MigrationRunning):
                await change()
        standing = await work.standing()
    assert standing.active is not None
    assert (standing.active.model.name, standing.kept) == ("mirror", 1)


async def searched(settings: Settings, parts: Parts) -> MemoriesFound:
    app = compose(settings, parts)
    return await app.call(settings.operator(), SearchMemories(query="rose", mode=SearchMode.SEMANTIC, explain=True))
