"""The contract of Storage: what is known of memories that are about to be stored."""

from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.contracts.builders import DAY, EVERYTHING, NOON, fingerprint, memory, new, used_key, vector
from tests.contracts.steps import get, replace, store
from tmws_core.domain.memory import KEYS, METADATA_BYTES, AccessLevel
from tmws_core.ports.storage import ALIKE, ALIKE_BYTES, Known, Storage

pytestmark = pytest.mark.anyio

EAST = vector(1, 0, 0, 0)


async def test_a_key_names_its_memory_and_an_identity_those_in_force(storage: Storage) -> None:
    keyed, first, second = memory(), memory(content="the same"), memory(content="the same", tags=("new",))
    key = used_key(keyed, "k")
    await store(storage, new(keyed, vector=EAST), new(first), new(second), keys=[key])

    async with storage.read() as snapshot:
        known = await snapshot.memories.known(
            [fingerprint(first, "k"), fingerprint(first, "other"), fingerprint(memory())]
        )

    keyed, first, second = [await get(storage, each.id) for each in (keyed, first, second)]
    assert known == [
        Known(used=key, keyed=keyed, alike=(first, second)),
        Known(alike=(first, second)),
        Known(),
    ]


async def test_a_key_is_taken_over(storage: Storage) -> None:
    first, second = memory(), memory()
    await store(storage, new(first), new(second), keys=[used_key(first, "k")])
    later = attrs.evolve(used_key(second, "k", None), duplicate=True)

    async with storage.write() as unit:
        await unit.changes.remember([later])
        assert (await unit.memories.known([fingerprint(first, "k")]))[0].used == later


async def test_what_makes_memories_the_same_is_all_of_their_identity(storage: Storage) -> None:
    plain = memory(content="Yes.")
    turn = memory(content="Yes.", session_id="s", sequence=0, occurred_at=DAY)
    await store(storage, new(plain), new(turn))
    others: list[dict[str, Any]] = [
        {"content": "Yes. "},
        {"agent_id": "bob"},
        {"namespace": "globex"},
        {"access_level": AccessLevel.PUBLIC},
        {"session_id": "t"},
        {"sequence": 1},
        {"occurred_at": NOON},
    ]

    async with storage.read() as snapshot:
        same = await snapshot.memories.known([fingerprint(plain), fingerprint(turn)])
        known = await snapshot.memories.known(
            [fingerprint(attrs.evolve(each, **other)) for each in (plain, turn) for other in others]
        )

    assert [[each.id for each in found.alike] for found in same] == [[plain.id], [turn.id]]
    assert known == [Known()] * len(known)


async def test_what_is_not_in_force_is_not_repeated(storage: Storage) -> None:
    gone = [
        memory(content="same", superseded_by="other", superseded_at=DAY),
        memory(content="same", expires_at=NOON),
    ]
    there = memory(content="same", expires_at=NOON + timedelta(microseconds=1))
    await store(storage, *map(new, gone), new(there))

    async with storage.read() as snapshot:
        (known,) = await snapshot.memories.known([fingerprint(there)])

    assert [each.id for each in known.alike] == [there.id]


async def test_of_many_that_are_the_same_the_newest_are_found(storage: Storage) -> None:
    same = [memory(content="same") for _ in range(ALIKE + 3)]
    await store(storage, *map(new, same))

    async with storage.read() as snapshot:
        (known,) = await snapshot.memories.known([fingerprint(same[0])])

    assert [each.id for each in known.alike] == [each.id for each in same[3:]]


async def test_new_memories_of_one_identity_share_what_is_read_once(storage: Storage) -> None:
    same = [memory(content="same", metadata={"a": number}) for number in range(3)]
    await store(storage, *map(new, same), keys=[used_key(same[0], "k"), used_key(same[0], "l")])

    async with storage.read() as snapshot:
        first, second = await snapshot.memories.known([fingerprint(same[0], "k"), fingerprint(same[1], "l")])

    assert first.alike is second.alike
    assert first.keyed is second.keyed is first.alike[0]


async def test_of_more_memories_than_there_is_room_for_the_newest_of_each_identity_are_found(storage: Storage) -> None:
    metadata = {"a": "x" * (METADATA_BYTES - 100)}
    texts = [f"{number}" for number in range(ALIKE_BYTES // (ALIKE * METADATA_BYTES) + 1)]
    same = [memory(content=text, metadata=metadata) for _ in range(ALIKE) for text in texts]
    await store(storage, *map(new, same))

    async with storage.read() as snapshot:
        known = await snapshot.memories.known([fingerprint(each) for each in same[: len(texts)]])

    assert sum(len(each.metadata["a"]) for found in known for each in found.alike) <= ALIKE_BYTES
    for place, found in enumerate(known):
        every = [each.id for each in same[place :: len(texts)]]
        assert 1 < len(found.alike) < ALIKE
        assert [each.id for each in found.alike] == every[-len(found.alike) :]


async def test_whether_a_memory_has_former_texts_or_a_certain_one_is_told(storage: Storage) -> None:
    plain, stored = memory(), memory(content="first")
    await store(storage, new(plain), new(stored))
    for content in ("second", "third"):
        former = await get(storage, stored.id)
        await replace(storage, former, new(attrs.evolve(former, content=content, version=former.version + 1)))

    async with storage.read() as snapshot:
        await snapshot.memories.get(stored.id, EVERYTHING)
        ids = [plain.id, stored.id, "gone"]
        told = [await snapshot.memories.rewritten(ids, text) for text in (None, "first", "second", "third")]

    assert told == [{stored.id}, {stored.id}, {stored.id}, set()]


async def test_of_the_keys_that_came_with_repetitions_of_a_memory_so_many_are_kept(storage: Storage) -> None:
    first, other = memory(), memory()
    await store(storage, new(first), new(other), keys=[used_key(first, "own"), used_key(other, "x")])
    many = [attrs.evolve(used_key(first, f"{place:04}"), duplicate=True) for place in range(3 * KEYS)]
    many.append(attrs.evolve(used_key(other, "y"), duplicate=True))
    async with storage.write() as unit:
        await unit.changes.remember(many[1:])
        await unit.changes.remember(many[-2:-1])
        await unit.changes.remember(many[:1])
        asked = [*(fingerprint(first, each.key) for each in many[:-1]), fingerprint(first, "own")]
        known = await unit.memories.known([*asked, fingerprint(other, "x"), fingerprint(other, "y")])
    used = [each.used.key for each in known if each.used is not None]
    assert len(used) == KEYS + 3
    assert used[0] == many[0].key
    assert used[-3:] == ["own", "x", "y"]
