"""The contract of Storage: memories."""

from datetime import timedelta

import attrs
import pytest

from tests.contracts.builders import (
    DAY,
    EVERYTHING,
    MODEL,
    NOON,
    fingerprint,
    memory,
    new,
    scope,
    used_key,
    vector,
)
from tests.contracts.steps import documents, get, replace, store
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import AccessLevel, MemoryType, MemoryVersion, Share, SharePermission, Uses
from tmws_core.domain.text import Lexical
from tmws_core.errors import MemoryNotFound
from tmws_core.messages.beginnings import starting_with
from tmws_core.ports.storage import Known, Storage

pytestmark = pytest.mark.anyio

EAST = vector(1, 0, 0, 0)
NORTH = vector(0, 1, 0, 0)


async def test_a_memory_comes_back_as_it_was_stored(storage: Storage) -> None:
    stored = memory(
        content="Ada \N{GREEK SMALL LETTER ALPHA} \N{ROCKET}\nsecond line",
        memory_type=MemoryType.EPISODIC,
        importance=0.1 + 0.2,
        access_level=AccessLevel.SHARED,
        shared_with=(Share("zoe", SharePermission.WRITE), Share("bob")),
        tags=("b", "a", '"quoted"'),
        metadata={"nested": {"list": [1, 2.5, None, True]}, "large": 2**63, "float": [6.02e23, -1e300, 2.0]},
        session_id="s1",
        sequence=3,
        occurred_at=DAY - timedelta(days=30_000, microseconds=1),
        expires_at=DAY + timedelta(microseconds=1),
        source="test",
        written_by="eve",
        transport="http",
        version=4,
        superseded_by="other",
        superseded_at=DAY + timedelta(seconds=1),
    )
    await store(storage, new(stored, vector=EAST))

    found = await get(storage, stored.id)

    assert found == attrs.evolve(stored, document=found.document, embedded=True)


async def test_memories_are_found_by_the_first_digits_of_their_ids_as_far_as_the_scope_holds_them(
    storage: Storage,
) -> None:
    ids = [f"01890a5d-ac96-774b-bcce-b302099a{end}" for end in ("8057", "8058", "9057")]
    others = ["01890a5c-ffff-774b-bcce-b302099a8057", "01890a5e-0000-774b-bcce-b302099a8057"]
    await store(storage, *(new(memory(id=each, agent_id="ada")) for each in (*ids, *others)))
    ada = scope(Visibility("ada", "acme"))

    async def found(start: str, within: Scope = ada, limit: int = 10) -> list[str]:
        async with storage.read() as snapshot:
            return [each.id for each in await starting_with(snapshot.memories, within, start, limit)]

    assert await found("01890a5d") == ids
    assert await found("01890A5DAC96774BBCCEB302099A80") == ids[:2]
    assert await found("01890a5d-ac96", limit=2) == ids[:2]
    assert await found(ids[1]) == [ids[1]]
    assert await found("01890a5f") == await found("01890a5") == await found("roses and tulips") == []
    assert await found(ids[1], scope(Visibility("eve", "acme"))) == []


async def test_a_memory_that_is_not_visible_is_not_found(storage: Storage) -> None:
    stored = memory(agent_id="ada")
    await store(storage, new(stored))

    async with storage.read() as snapshot:
        with pytest.raises(MemoryNotFound):
            await snapshot.memories.get(stored.id, Visibility("bob", "acme"))


async def test_an_unknown_memory_is_not_found(storage: Storage) -> None:
    with pytest.raises(MemoryNotFound):
        await get(storage, "018bcfe5-0000-7000-8000-000000000000")


async def test_pages_go_through_all_memories_in_the_order_of_their_ids(storage: Storage) -> None:
    memories = [memory() for _ in range(5)]
    await store(storage, *map(new, reversed(memories)))
    ids = [each.id for each in memories]

    async with storage.read() as snapshot:
        newest = await snapshot.memories.page(scope(), after=None, limit=2, order="newest")
        older = await snapshot.memories.page(scope(), after=newest[-1].id, limit=9, order="newest")
        oldest = await snapshot.memories.page(scope(), after=ids[0], limit=2, order="oldest")

    assert [each.id for each in newest + older] == ids[::-1]
    assert [each.id for each in oldest] == ids[1:3]


async def test_a_page_begins_behind_a_memory_that_is_gone(storage: Storage) -> None:
    memories = [memory() for _ in range(3)]
    await store(storage, *map(new, memories))
    async with storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(memories[1].id, EVERYTHING))

    async with storage.read() as snapshot:
        page = await snapshot.memories.page(scope(), after=memories[1].id, limit=5, order="newest")

    assert [each.id for each in page] == [memories[0].id]


async def test_documents_are_those_with_a_vector_in_ascending_order(storage: Storage) -> None:
    memories = [memory() for _ in range(12)]
    await store(storage, *(new(each, vector=EAST if index % 2 else None) for index, each in enumerate(memories)))

    async with storage.read() as snapshot:
        found = (await snapshot.memories.searchable(scope())).documents
        page = await snapshot.memories.page(scope(), after=None, limit=20, order="oldest")

    assert found.typecode == "q"
    assert found.tolist() == sorted(each.document for each in page if each.embedded)
    assert len(found) == 6


async def test_documents_follow_every_change(storage: Storage) -> None:
    memories = [memory(), memory(), memory()]
    seen = [await documents(storage)]
    await store(storage, new(memories[0], vector=EAST), new(memories[1]), new(memories[2], vector=EAST))
    seen.append(await documents(storage))
    async with storage.write() as unit:
        await unit.changes.put_vectors({2: NORTH})
    seen.append(await documents(storage))
    async with storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(memories[0].id, EVERYTHING))
    seen.append(await documents(storage))
    former = await get(storage, memories[2].id)
    await replace(storage, former, new(attrs.evolve(former, superseded_at=DAY)))
    seen.append(await documents(storage))

    assert seen == [[], [1, 3], [1, 2, 3], [2, 3], [2]]


@pytest.mark.parametrize(
    ("field", "before", "after"), [("created_at", 0, 1), ("expires_at", 1, 0), ("superseded_at", 1, 0)]
)
async def test_documents_follow_the_time(storage: Storage, field: str, before: int, after: int) -> None:
    moment = NOON + timedelta(hours=1)
    await store(storage, new(memory(**{field: moment}), vector=EAST))
    times = [NOON, moment - timedelta(microseconds=1), moment, NOON + timedelta(days=1), NOON]

    async with storage.read() as snapshot:
        scopes = [attrs.evolve(scope(at=at), historic=True) for at in times]
        found = [len((await snapshot.memories.searchable(each)).documents) for each in scopes]

    assert found == [before, before, after, after, before]


async def test_documents_of_a_transaction_that_is_rolled_back_are_not_remembered(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.write() as unit:
            await unit.use_model(MODEL)
            await unit.changes.add([new(memory(), vector=EAST)])
            assert (await unit.memories.searchable(scope())).documents.tolist() == [1]
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await fail()
    await store(storage, new(memory()))

    assert await documents(storage) == []


async def test_no_documents_in_a_scope_are_an_empty_array(storage: Storage) -> None:
    assert await documents(storage) == []


async def test_memories_are_found_by_their_documents(storage: Storage) -> None:
    mine, other = memory(), memory(agent_id="bob")
    await store(storage, new(mine), new(other))
    numbers = [(await get(storage, each.id)).document for each in (mine, other)]

    async with storage.read() as snapshot:
        found = await snapshot.memories.of_documents([*numbers, 999], scope(Visibility("ada", "acme")))

    assert {number: each.id for number, each in found.items()} == {numbers[0]: mine.id}


async def test_the_number_of_a_deleted_document_is_never_given_again(storage: Storage) -> None:
    first, second = memory(), memory()
    await store(storage, new(first))
    former = await get(storage, first.id)
    async with storage.write() as unit:
        await unit.changes.delete(former)

    await store(storage, new(second))

    assert (await get(storage, second.id)).document > former.document


async def test_a_changed_text_is_another_document_with_its_own_vector(storage: Storage) -> None:
    stored = memory(content="former")
    await store(storage, new(stored, vector=EAST))
    former = await get(storage, stored.id)

    await replace(storage, former, new(attrs.evolve(former, content="latter", version=2), vector=NORTH))

    latter = await get(storage, stored.id)
    assert latter.document > former.document
    assert (latter.content, latter.version, latter.embedded) == ("latter", 2, True)
    assert await storage.vectors([former.document, latter.document]) == {latter.document: NORTH}
    assert await storage.integrity() == []


async def test_a_text_changed_without_a_vector_waits_for_one(storage: Storage) -> None:
    stored = memory(content="former")
    await store(storage, new(stored, vector=EAST))
    former = await get(storage, stored.id)

    await replace(storage, former, new(attrs.evolve(former, content="latter")))

    assert not (await get(storage, stored.id)).embedded
    assert await documents(storage) == []


async def test_former_texts_are_kept_oldest_first(storage: Storage) -> None:
    stored = memory(content="one", written_by="ada")
    await store(storage, new(stored))
    for version, content in ((2, "two"), (3, "three")):
        former = await get(storage, stored.id)
        moment = DAY + timedelta(hours=version)
        changed = attrs.evolve(former, content=content, version=version, updated_at=moment, written_by="eve")
        await replace(storage, former, new(changed))

    async with storage.read() as snapshot:
        await snapshot.memories.get(stored.id, EVERYTHING)
        history = await snapshot.memories.history(stored.id)

    two, three = DAY + timedelta(hours=2), DAY + timedelta(hours=3)
    assert history == [
        MemoryVersion(version=1, content="one", valid_from=DAY, valid_to=two, changed_by="eve"),
        MemoryVersion(version=2, content="two", valid_from=two, valid_to=three, changed_by="eve"),
    ]


async def test_an_unchanged_text_keeps_its_document_and_vector_while_the_rest_changes(storage: Storage) -> None:
    stored = memory(shared_with=(Share("bob"),), tags=("old",), access_level=AccessLevel.SHARED)
    await store(storage, new(stored, vector=EAST))
    former = await get(storage, stored.id)
    changed = attrs.evolve(former, shared_with=(Share("zoe"),), tags=("new",), metadata={"a": 1}, importance=1.0)

    await replace(storage, former, attrs.evolve(new(changed), lexical=Lexical(), vector=NORTH))

    assert await get(storage, stored.id) == changed
    assert await storage.vectors([former.document]) == {former.document: EAST}
    async with storage.read() as snapshot:
        await snapshot.memories.get(stored.id, EVERYTHING)
        assert await snapshot.memories.history(stored.id) == []


async def test_a_memory_that_is_gone_cannot_be_replaced(storage: Storage) -> None:
    with pytest.raises(MemoryNotFound):
        await replace(storage, memory(), new(memory()))


async def test_a_deleted_memory_leaves_nothing(storage: Storage) -> None:
    stored = memory(shared_with=(Share("bob"),))
    await store(storage, new(stored, vector=EAST), keys=[used_key(stored, "k")])
    former = await get(storage, stored.id)
    await replace(storage, former, new(attrs.evolve(former, content="changed"), vector=NORTH))
    former = await get(storage, stored.id)

    async with storage.write() as unit:
        await unit.changes.delete(former)

    async with storage.read() as snapshot:
        with pytest.raises(MemoryNotFound):
            await snapshot.memories.get(stored.id, EVERYTHING)
        assert await snapshot.memories.history(stored.id) == []
        assert await snapshot.memories.known([fingerprint(former), fingerprint(former, "k")]) == [Known(), Known()]
    assert await storage.vectors([former.document]) == {}
    assert await storage.integrity() == []


async def test_deleting_a_successor_is_a_change_of_what_it_had_replaced(storage: Storage) -> None:
    later = memory(agent_id="eve", access_level=AccessLevel.PUBLIC)
    middle = memory(agent_id="eve", superseded_by=later.id, superseded_at=DAY)
    olds = [memory(superseded_by=middle.id, superseded_at=DAY, version=7) for _ in range(2)]
    await store(storage, *(new(each, vector=EAST) for each in (later, middle, olds[0])), new(olds[1]))
    moment = DAY + timedelta(hours=5)

    async with storage.write() as unit:
        relinked = await unit.changes.delete(await unit.memories.get(middle.id, EVERYTHING), moment)

    assert {each.id: (each.agent_id, each.embedded) for each in relinked} == {
        olds[0].id: (olds[0].agent_id, True),
        olds[1].id: (olds[1].agent_id, False),
    }
    for old in olds:
        found = await get(storage, old.id)
        assert (found.superseded_by, found.superseded_at) == (later.id, DAY)
        assert (found.version, found.updated_at) == (8, moment)


async def test_stats_count_what_is_visible_whether_or_not_it_is_in_force(storage: Storage) -> None:
    await store(
        storage,
        new(memory(created_at=DAY), vector=EAST),
        new(memory(access_level=AccessLevel.PUBLIC, memory_type=MemoryType.WORKING, expires_at=DAY)),
        new(memory(namespace="globex", created_at=NOON, superseded_at=DAY)),
        new(memory(agent_id="bob")),
    )

    async with storage.read() as snapshot:
        stats = await snapshot.memories.stats(Visibility("ada", "acme"))
        nothing = await snapshot.memories.stats(Visibility("nobody", "void"))

    assert (stats.total, stats.embedded) == (3, 1)
    assert stats.by_type == {"semantic": 2, "working": 1}
    assert stats.by_access_level == {"private": 2, "public": 1}
    assert stats.by_namespace == {"acme": 2, "globex": 1}
    assert (stats.oldest, stats.newest) == (DAY, NOON)
    assert (nothing.total, nothing.by_type, nothing.oldest) == (1, {"working": 1}, DAY)


async def test_uses_add_up_and_go_with_their_memory(storage: Storage) -> None:
    used, unused = memory(), memory()
    async with storage.write() as unit:
        await unit.changes.add([new(used), new(unused)])
        await unit.changes.add_uses({used.id: Uses(2, NOON), "gone": Uses(1, NOON)})
        await unit.changes.add_uses({used.id: Uses(1, NOON - timedelta(hours=1))})
        assert await unit.memories.uses([1, 2, 3]) == {1: Uses(3, NOON)}
        await unit.changes.delete(await unit.memories.get(used.id, EVERYTHING))
        assert await unit.memories.uses([1, 2, 3]) == {}
