"""The contract of Models: a store changes from one embedding model to another, all at once, and back."""

import attrs
import pytest

from tests.contracts.builders import MODEL, memory, new, scope, vector
from tests.contracts.steps import documents, get, replace, store
from tests.contracts.stores import Store
from tmws_core.domain.embedding import Calibration, Canary, EmbeddingModel, KnownModel, Vector
from tmws_core.domain.memory import Memory
from tmws_core.errors import MigrationRunning, ModelMismatch, NoFormerModel

pytestmark = pytest.mark.anyio

EAST, NORTH, WEST = vector(1, 0, 0, 0), vector(0, 1, 0, 0), vector(-1, 0, 0, 0)
OTHER = EmbeddingModel(name="tests/two", dimension=2, digest="d2")
UP, DOWN = vector(0, 1), vector(0, -1)
CANARY = Canary(text="a canary", vector=EAST)
OTHER_CANARY = Canary(text="a canary", vector=UP)


async def stored(opened: Store, *vectors: Vector | None) -> list[Memory]:
    memories = [memory() for _ in vectors]
    await store(opened.storage, *(new(each, vector=made) for each, made in zip(memories, vectors, strict=True)))
    return [await get(opened.storage, each.id) for each in memories]


async def prepare(opened: Store, vectors: dict[int, Vector], model: EmbeddingModel = OTHER) -> None:
    async with opened.models.migration() as migration:
        await migration.begin(model, OTHER_CANARY)
        await migration.prepare(vectors)


async def switch(opened: Store, spare: int = 0) -> bool:
    async with opened.models.migration() as migration:
        return await migration.switch(spare)


async def changed(opened: Store, *vectors: Vector) -> list[Memory]:
    """Store memories with vectors, and change to the other model."""
    memories = await stored(opened, *vectors)
    await prepare(opened, {each.document: UP for each in memories})
    assert await switch(opened)
    return memories


async def test_the_canary_is_kept_with_the_first_model_and_never_replaced(opened: Store) -> None:
    async with opened.storage.write() as unit:
        await unit.use_model(MODEL, CANARY)
    async with opened.storage.write() as unit:
        await unit.use_model(MODEL, attrs.evolve(CANARY, vector=NORTH))

    assert await opened.storage.canary(MODEL) == CANARY
    assert await opened.storage.canary(OTHER) is None


async def test_what_cosines_mean_is_kept_with_the_canary_that_is_there_and_never_replaced(opened: Store) -> None:
    first, second = Calibration(unrelated=0.1, related=0.7), Calibration(unrelated=0.2, related=0.8)
    for canary in (CANARY, attrs.evolve(CANARY, calibration=first), attrs.evolve(CANARY, calibration=second), CANARY):
        async with opened.storage.write() as unit:
            await unit.use_model(MODEL, canary)
    assert await opened.storage.canary(MODEL) == attrs.evolve(CANARY, calibration=first)


async def test_a_model_without_a_canary_takes_the_first_that_comes(opened: Store) -> None:
    await stored(opened, EAST)
    assert await opened.storage.canary(MODEL) is None

    async with opened.storage.write() as unit:
        await unit.use_model(MODEL, CANARY)

    assert await opened.storage.canary(MODEL) == CANARY


async def test_an_empty_store_stands_for_no_model(opened: Store) -> None:
    standing = await opened.models.standing()

    assert (standing.active, standing.next, standing.former) == (None, None, None)
    assert (standing.memories, standing.embedded, standing.prepared, standing.kept) == (0, 0, 0, 0)


async def test_texts_without_a_vector_of_the_next_model_are_told_by_document(opened: Store) -> None:
    memories = await stored(opened, EAST, None, EAST, EAST)
    numbers = [each.document for each in memories]
    await prepare(opened, {numbers[2]: UP})

    async with opened.models.migration() as migration:
        first = await migration.missing(0, 2)
        rest = await migration.missing(first[-1].document, 2)

    assert [each.document for each in first] == numbers[:2]
    assert [each.content for each in rest] == [memories[3].content]


async def test_nothing_of_a_migration_shows_before_the_switch(opened: Store) -> None:
    memories = await stored(opened, EAST)
    changes = await opened.storage.changes()

    await prepare(opened, {memories[0].document: UP})

    standing = await opened.models.standing()
    assert standing.active == KnownModel(model=MODEL, canary=None)
    assert (standing.next, standing.prepared) == (KnownModel(model=OTHER, canary=OTHER_CANARY), 1)
    assert await opened.storage.model() == MODEL
    assert await opened.storage.vectors([memories[0].document]) == {memories[0].document: EAST}
    assert await opened.storage.changes() == changes


async def test_the_switch_changes_model_vectors_and_counts_at_once(opened: Store) -> None:
    memories = await stored(opened, EAST, None)
    numbers = [each.document for each in memories]
    await prepare(opened, dict.fromkeys(numbers, UP))
    changes = await opened.storage.changes()

    assert await switch(opened)

    assert await opened.storage.model() == OTHER
    assert await opened.storage.canary(OTHER) == OTHER_CANARY
    assert await opened.storage.vectors(numbers) == dict.fromkeys(numbers, UP)
    assert await documents(opened.storage) == numbers
    assert await opened.storage.changes() != changes
    standing = await opened.models.standing()
    assert (standing.next, standing.prepared) == (None, 0)
    assert (standing.former, standing.kept) == (KnownModel(model=MODEL, canary=None), 1)
    assert await opened.storage.integrity() == []


async def test_a_kept_scope_is_read_anew_after_the_switch(opened: Store) -> None:
    memories = await stored(opened, EAST, EAST)
    numbers = [each.document for each in memories]
    await prepare(opened, {numbers[0]: UP})
    assert await documents(opened.storage) == numbers

    assert await switch(opened, spare=1)

    assert await documents(opened.storage) == numbers[:1]
    async with opened.storage.read() as snapshot:
        assert [each.document for each in await snapshot.memories.unembedded(9)] == numbers[1:]


async def test_the_switch_waits_while_more_than_the_spare_is_missing(opened: Store) -> None:
    memories = await stored(opened, EAST, EAST, EAST)
    await prepare(opened, {memories[0].document: UP})

    assert not await switch(opened, spare=1)
    assert await opened.storage.model() == MODEL
    assert await switch(opened, spare=2)


async def test_vectors_are_handed_out_for_their_own_model_only(opened: Store) -> None:
    (each,) = await stored(opened, EAST)
    assert await opened.storage.vectors([each.document], MODEL) == {each.document: EAST}
    assert await opened.storage.vectors([each.document], OTHER) == {}

    await prepare(opened, {each.document: UP})
    await switch(opened)

    assert await opened.storage.vectors([each.document], MODEL) == {}
    assert await opened.storage.vectors([each.document], OTHER) == {each.document: UP}


async def test_vectors_of_the_former_model_are_refused_after_the_switch(opened: Store) -> None:
    await changed(opened, EAST)

    with pytest.raises(ModelMismatch, match="tests/two"):
        await store(opened.storage, new(memory(), vector=EAST))

    assert (await opened.storage.health()).memories == 1


async def test_the_way_back_restores_the_former_vectors_and_lets_the_new_texts_wait(opened: Store) -> None:
    (old,) = await changed(opened, EAST)
    async with opened.storage.write() as unit:
        await unit.use_model(OTHER)
        await unit.changes.add([new(memory(), vector=DOWN)])
    changes = await opened.storage.changes()

    async with opened.models.migration() as migration:
        await migration.roll_back()

    assert await opened.storage.model() == MODEL
    assert await opened.storage.changes() != changes
    assert await documents(opened.storage) == [old.document]
    assert await opened.storage.vectors([old.document, old.document + 1]) == {old.document: EAST}
    standing = await opened.models.standing()
    assert (standing.former, standing.kept) == (KnownModel(model=OTHER, canary=OTHER_CANARY), 2)
    assert await opened.storage.integrity() == []


async def test_the_way_back_can_be_gone_back_and_keeps_an_interrupted_migration(opened: Store) -> None:
    (old,) = await changed(opened, EAST)
    third = EmbeddingModel(name="tests/third", dimension=2)
    await prepare(opened, {old.document: DOWN}, third)

    for expected in (MODEL, OTHER):
        async with opened.models.migration() as migration:
            await migration.roll_back()
        assert await opened.storage.model() == expected

    assert await opened.storage.vectors([old.document]) == {old.document: UP}
    standing = await opened.models.standing()
    assert (standing.next and standing.next.model, standing.prepared) == (third, 1)


async def test_without_a_former_model_there_is_no_way_back(opened: Store) -> None:
    await stored(opened, EAST)

    with pytest.raises(NoFormerModel):
        async with opened.models.migration() as migration:
            await migration.roll_back()


async def test_a_forgotten_model_is_gone_when_its_last_vector_is(opened: Store) -> None:
    await changed(opened, EAST, EAST, EAST)

    async with opened.models.migration() as migration:
        assert await migration.forget("former", 2) == 2
        assert (await opened.models.standing()).kept == 1
        assert await migration.forget("former", 2) == 1
        with pytest.raises(NoFormerModel):
            await migration.roll_back()

    assert (await opened.models.standing()).former is None
    assert await opened.storage.model() == OTHER


async def test_other_weights_under_the_same_name_are_another_edition(opened: Store) -> None:
    (each,) = await stored(opened, EAST)
    await prepare(opened, {each.document: WEST}, MODEL)
    await switch(opened)

    assert await opened.storage.model() == attrs.evolve(MODEL, edition=2)
    assert await opened.storage.vectors([each.document], MODEL) == {}
    with pytest.raises(ModelMismatch):
        await store(opened.storage, new(memory(), vector=EAST))


async def test_deleted_and_changed_texts_leave_no_vector_of_any_model(opened: Store) -> None:
    await changed(opened, EAST, EAST, EAST)
    numbers = await documents(opened.storage)
    await prepare(opened, dict.fromkeys(numbers, DOWN), EmbeddingModel(name="tests/third", dimension=2))
    async with opened.storage.read() as snapshot:
        gone, text, kept = (await snapshot.memories.of_documents(numbers, scope())).values()

    async with opened.storage.write() as unit:
        await unit.changes.delete(gone)
    await replace(opened.storage, text, new(attrs.evolve(text, content="Another text", version=2)))

    standing = await opened.models.standing()
    assert (standing.memories, standing.embedded, standing.prepared, standing.kept) == (2, 1, 1, 1)
    async with opened.models.migration() as migration:
        assert await migration.prepare({gone.document: DOWN, kept.document: DOWN}) == 0
    assert await opened.storage.integrity() == []


async def test_a_second_migration_is_refused_until_the_first_one_ends(opened: Store) -> None:
    async with opened.models.migration():
        with pytest.raises(MigrationRunning, match=r"process \d+"):
            async with opened.models.migration():
                pass

    async with opened.models.migration():
        pass
