"""What replaces what, in a store: how far it is followed, and what is left of it when a memory is deleted."""

from itertools import pairwise

import attrs
import psycopg
import pytest

from tests.contracts.builders import DAY, EVERYTHING, memory, new
from tests.contracts.steps import get, store
from tests.contracts.stores import Store
from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres import open_postgres
from tmws_core.domain.access import Visibility
from tmws_core.domain.agent import Agent, Role
from tmws_core.domain.memory import AccessLevel, Memory, Share
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio


def chain(length: int) -> list[Memory]:
    """Return memories each of which is replaced by the next one."""
    ended = [memory() for _ in range(length)]
    linked = [attrs.evolve(each, superseded_by=later.id, superseded_at=DAY) for each, later in pairwise(ended)]
    return [*linked, ended[-1]]


async def successors(storage: Storage, memory_id: str, limit: int) -> list[str]:
    async with storage.read() as snapshot:
        return await snapshot.memories.successors(memory_id, limit)


async def test_successors_are_followed_one_after_the_other_up_to_a_limit(storage: Storage) -> None:
    memories = chain(6)
    ids = [each.id for each in memories]
    await store(storage, *map(new, memories))
    assert await successors(storage, ids[0], 100) == ids[1:]
    assert await successors(storage, ids[0], 5) == ids[1:]
    assert await successors(storage, ids[0], 2) == ids[1:3]
    assert await successors(storage, ids[-1], 100) == []
    assert await successors(storage, "nothing", 100) == []


async def test_what_one_memory_has_replaced_of_an_agent_is_counted_up_to_a_limit(storage: Storage) -> None:
    last = memory()
    owners = ("ada", "bob", "ada", "ada")
    former = [memory(agent_id=owner, superseded_by=last.id, superseded_at=DAY) for owner in owners]
    await store(storage, *map(new, [last, *former]))
    async with storage.read() as snapshot:
        assert [await snapshot.memories.replaced(last.id, "ada", limit) for limit in (2, 3, 4)] == [2, 3, 3]
        assert await snapshot.memories.replaced(last.id, "bob", 4) == 1
        assert await snapshot.memories.replaced(former[0].id, "ada", 4) == 0


async def test_following_ends_where_memories_replace_each_other(storage: Storage) -> None:
    first, second = chain(2)
    await store(storage, new(first), new(attrs.evolve(second, superseded_by=first.id, superseded_at=DAY)))
    assert await successors(storage, first.id, 100) == [second.id, first.id]


async def test_postgresql_finds_each_successor_by_its_key(postgres: PostgresServer) -> None:
    """Before it has figures of a table, too: it would read all memories, or all entries of an audience, each time."""
    with postgres.database() as url:
        memories = chain(900)
        async with open_postgres(url) as opened:
            for batch in (memories, *([memory() for _ in range(900)] for _ in range(4))):
                await store(opened.storage, *map(new, batch))
        former = entries_read(url)
        async with open_postgres(url) as opened, opened.storage.write() as unit:
            assert len(await unit.memories.successors(memories[0].id, 1000)) == 899
        assert entries_read(url) - former < 10 * len(memories)


def entries_read(url: str) -> int:
    """Return how much of the memories was read, not by their keys, once all connections have ended."""
    with psycopg.connect(url, autocommit=True) as connection:
        busy = True
        while busy:
            rows = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
            busy = rows != [(0,)]
        ((entries,),) = connection.execute(
            """
            SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname LIKE 'memories\\_v2%')
                + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
                    WHERE relname LIKE 'memories\\_v2%' AND indexrelname NOT LIKE '%pkey')
            """
        ).fetchall()
    return int(entries)


OWNERS = (
    Agent(id="ada", namespace="acme", created_at=DAY, updated_at=DAY),
    Agent(id="moved", namespace="globex", created_at=DAY, updated_at=DAY),
    Agent(id="root", namespace="globex", role=Role.ADMIN, created_at=DAY, updated_at=DAY),
)
"""Who owns what was replaced, in `acme`; one has moved from there since, and another one is not registered."""

SUCCESSOR_FIELDS = (
    *({"access_level": level} for level in AccessLevel),
    {"access_level": AccessLevel.TEAM, "namespace": "globex"},
    *({"access_level": AccessLevel.SHARED, "shared_with": (Share(owner),)} for owner in ("ada", "moved", "guest")),
)


@pytest.mark.parametrize("fields", SUCCESSOR_FIELDS)
async def test_what_is_relinked_goes_on_being_replaced_only_by_what_its_owner_may_see(
    storage: Storage, fields: dict[str, AccessLevel]
) -> None:
    later = memory(**{"agent_id": "eve", "namespace": "acme", **fields})
    middle = memory(agent_id="eve", access_level=AccessLevel.PUBLIC, superseded_by=later.id, superseded_at=DAY)
    sights = {
        **{each.id: Visibility(each.id, each.namespace, everything=each.role is Role.ADMIN) for each in OWNERS},
        "guest": Visibility("guest", "acme"),
        "eve": Visibility("eve", "acme"),
    }
    olds = [memory(agent_id=owner, superseded_by=middle.id, superseded_at=DAY, version=3) for owner in sights]
    async with storage.write() as unit:
        for each in OWNERS:
            await unit.agents.add(each)
    await store(storage, *map(new, (later, middle, *olds)))

    async with storage.write() as unit:
        relinked = await unit.changes.delete(await unit.memories.get(middle.id, EVERYTHING))

    assert {each.id for each in relinked} == {old.id for old in olds}
    for old in olds:
        found = await get(storage, old.id)
        linked = sights[old.agent_id].includes(later)
        assert (found.superseded_by, found.superseded_at) == ((later.id, DAY) if linked else (None, None))
        assert found.version == 4


async def test_what_was_replaced_by_what_is_gone_comes_back(opened: Store) -> None:
    middle = memory(superseded_by="gone", superseded_at=DAY)
    old = memory(superseded_by=middle.id, superseded_at=DAY)
    await store(opened.storage, new(middle), new(old))
    async with opened.storage.write() as unit:
        await unit.changes.delete(await unit.memories.get(middle.id, EVERYTHING))
    found = await get(opened.storage, old.id)
    assert (found.superseded_by, found.superseded_at) == (None, None)
