"""What agents own, as the store counts it along, is what is there; and the time at which a licence was looked at."""

import random
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import Any

import attrs
import orjson
import psycopg
import pytest

from tests.contracts.builders import DAY, EVERYTHING, NOON, memory, new, scope, vector
from tests.contracts.steps import replace, store
from tests.contracts.stores import Store, open_at
from tmws_adapters.postgres.opening import PostgresStore
from tmws_core.domain.agent import Belongings
from tmws_core.domain.memory import Memory
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.storage import NewMemory, Storage

pytestmark = pytest.mark.anyio

AGENTS = ("ada", "bob", "eve")
STEPS = 150
SEEDS = range(5)


def size(stored: Memory) -> int:
    return len(stored.content.encode()) + len(orjson.dumps(stored.metadata))


async def counted(storage: Storage) -> dict[str, Belongings]:
    async with storage.read() as snapshot:
        return await snapshot.agents.belongings(AGENTS)


async def there(storage: Storage) -> dict[str, Belongings]:
    async with storage.read() as snapshot:
        page = await snapshot.memories.page(scope(), after=None, limit=9999, order="oldest")
        former_texts = {each.id: await snapshot.memories.history(each.id) for each in page}
    owned: dict[str, Belongings] = {}
    for each in page:
        former = owned.get(each.agent_id, Belongings())
        history = sum(len(text.content.encode()) for text in former_texts[each.id])
        owned[each.agent_id] = Belongings(former.memories + 1, former.bytes + size(each) + history)
    return owned


def drawn(chance: random.Random) -> dict[str, Any]:
    words = ("rose", "バラ", "trëe", "🌹", "a\nb")
    return {
        "content": " ".join(chance.choices(words, k=chance.randint(1, 20))),
        "metadata": {word: chance.randint(0, 999) for word in chance.sample(words, chance.randint(0, 3))},
    }


async def step(storage: Storage, chance: random.Random) -> None:
    """Add, change, move, share or delete something, or begin to and give up."""
    async with storage.read() as snapshot:
        page = await snapshot.memories.page(scope(), after=None, limit=9999, order="oldest")
    action = chance.choice(("add", "add", "batch", "change", "label", "delete", "give up")) if page else "add"
    match action:
        case "add" | "batch":
            count = 1 if action == "add" else 20
            await store(storage, *(new(memory(agent_id=chance.choice(AGENTS), **drawn(chance))) for _ in range(count)))
        case "change":
            former = chance.choice(page)
            await replace(storage, former, new(attrs.evolve(former, **drawn(chance), version=former.version + 1)))
        case "label":
            former = chance.choice(page)
            await replace(storage, former, new(attrs.evolve(former, tags=("label",), version=former.version + 1)))
        case "delete":
            async with storage.write() as unit:
                await unit.changes.delete(chance.choice(page))
        case _:
            with pytest.raises(StorageUnavailable):
                await give_up(storage, chance.choice(page), new(memory(**drawn(chance))))


async def give_up(storage: Storage, lost: Memory, gained: NewMemory) -> None:
    async with storage.write() as unit:
        await unit.changes.delete(lost)
        await unit.changes.add([gained])
        raise StorageUnavailable(part="sqlite", reason="given up")


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_agents_own_is_counted_right_whatever_is_done(storage: Storage, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(STEPS):
        await step(storage, chance)
        assert await counted(storage) == await there(storage)
    assert len(await counted(storage)) == len(AGENTS)


async def test_an_agent_that_owns_nothing_any_more_is_left_out(storage: Storage) -> None:
    stored = memory(agent_id="ada", content="é", metadata={})
    await store(storage, new(stored))
    assert await counted(storage) == {"ada": Belongings(1, 4)}
    async with storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(stored.id, EVERYTHING))
        assert await unit.agents.belongings(["ada"]) == {}


async def test_a_transaction_sees_what_it_has_added_itself(storage: Storage) -> None:
    async with storage.write() as unit:
        await unit.changes.add([new(memory(agent_id="ada", content="abc", metadata={}))])
        assert await unit.agents.belongings(["ada", "bob"]) == {"ada": Belongings(1, 5)}


async def test_the_latest_time_at_which_a_licence_was_looked_at_is_kept(opened: Store) -> None:
    seen = opened.license_clock
    assert await seen.last_seen() is None
    assert await seen.note(NOON) == NOON
    assert await seen.note(DAY) == NOON
    assert await seen.last_seen() == NOON
    later = NOON + timedelta(microseconds=1)
    assert await seen.note(later) == later
    assert await seen.last_seen() == later


async def test_that_time_survives_the_process(place: str) -> None:
    for _ in range(2):
        async with open_at(place) as store_:
            assert await store_.license_clock.note(NOON) == NOON
    async with open_at(place) as store_:
        assert await store_.license_clock.last_seen() == NOON


async def test_health_tells_what_is_counted_along_and_counts_no_memories(opened: Store, place: str) -> None:
    vectors = vector(1, 0, 0, 0), vector(0, 1, 0, 0), None
    await store(opened.storage, *(new(memory(), vector=each) for each in vectors))
    more = "UPDATE agent_belongings SET memories = memories + 1000"
    if isinstance(opened, PostgresStore):
        with psycopg.connect(place) as connection:
            connection.execute(more)
        assert (await opened.vectors.health())["vectors"] == 1002
    else:
        with closing(sqlite3.connect(place)) as file, file:
            file.execute(more)
    health = await opened.storage.health()
    assert (health.memories, health.unembedded) == (1003, 1)
