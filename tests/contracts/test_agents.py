"""The contract of Agents, and which of some ids a caller may know of."""

from datetime import timedelta

import anyio
import attrs
import pytest

from tests.contracts.builders import DAY, EVERYTHING, memory, new
from tmws_core.domain.access import Visibility
from tmws_core.domain.agent import Agent, Belongings, Role
from tmws_core.domain.memory import AccessLevel, Memory, Share
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio


def agent(agent_id: str, namespace: str = "acme", seconds: int = 0, *, active: bool = True) -> Agent:
    moment = DAY + timedelta(seconds=seconds)
    return Agent(id=agent_id, namespace=namespace, active=active, created_at=moment, updated_at=moment)


async def add(storage: Storage, *agents: Agent) -> None:
    async with storage.write() as unit:
        for each in agents:
            await unit.agents.add(each)


async def page(storage: Storage, within: str | None = None, after: str | None = None, limit: int = 99) -> list[str]:
    async with storage.read() as snapshot:
        return [each.id for each in await snapshot.agents.page(within, after=after, limit=limit)]


WHOLE = Agent(
    id="hera",
    namespace="acme/planning",
    role=Role.NAMESPACE_ADMIN,
    active=False,
    display_name="Hera 'the' \"planner\"",
    description="Plans.\nAnd plans.",
    capabilities=("b", "a", "計画"),
    metadata={"team": 7, "nested": {"list": [1, None, True, "x"]}},
    created_at=DAY,
    updated_at=DAY + timedelta(microseconds=1),
)


async def test_an_agent_is_read_back_as_it_was_added(storage: Storage) -> None:
    await add(storage, WHOLE)
    async with storage.read() as snapshot:
        assert await snapshot.agents.find("hera") == WHOLE
        assert await snapshot.agents.find("Hera") is None


async def test_a_known_agent_is_not_added_again(storage: Storage) -> None:
    await add(storage, WHOLE)
    await add(storage, agent("hera", "globex"))
    async with storage.read() as snapshot:
        assert await snapshot.agents.find("hera") == WHOLE


async def test_a_replaced_agent_is_the_new_one_in_every_field(storage: Storage) -> None:
    await add(storage, agent("hera"), agent("athena"))
    async with storage.write() as unit:
        await unit.agents.replace(WHOLE)
        assert await unit.agents.find("hera") == WHOLE
    async with storage.read() as snapshot:
        assert await snapshot.agents.find("hera") == WHOLE
        assert await snapshot.agents.find("athena") == agent("athena")


async def test_pages_are_in_the_order_of_ids_and_meet_without_a_gap(storage: Storage) -> None:
    ids = ["B", "a", "a-1", "a.1", "a1", "b", "z"]
    await add(storage, *map(agent, reversed(ids)))
    whole = await page(storage)
    assert whole == sorted(ids)
    for limit in (1, 2, 3):
        found: list[str] = []
        while part := await page(storage, after=found[-1] if found else None, limit=limit):
            assert len(part) <= limit
            found += part
        assert found == whole


async def test_a_page_of_a_namespace_holds_it_and_what_is_below(storage: Storage) -> None:
    places = {"a": "acme", "b": "acme/x", "c": "acme/x/y", "d": "acme2", "e": "acm", "f": "ACME", "g": "acme_x"}
    await add(storage, *(agent(agent_id, namespace) for agent_id, namespace in places.items()))
    assert await page(storage, "acme") == ["a", "b", "c"]
    assert await page(storage, "acme/x") == ["b", "c"]
    assert await page(storage, "acme", after="a", limit=1) == ["b"]
    assert await page(storage, "nowhere") == []
    assert await page(storage, "") == []


async def test_seats_are_those_of_active_agents_in_the_order_of_registration(storage: Storage) -> None:
    await add(storage, agent("c", seconds=1), agent("b", seconds=2), agent("a", seconds=2))
    await add(storage, agent("gone", seconds=0, active=False))
    async with storage.read() as snapshot:
        assert await snapshot.agents.count() == 3
        seats = {each: await snapshot.agents.seats_before(each) for each in ("c", "a", "b", "gone", "new")}
    assert seats == {"c": 0, "a": 1, "b": 2, "gone": 3, "new": 3}


async def test_belongings_count_what_each_owns(storage: Storage) -> None:
    async with storage.write() as unit:
        owned = [memory(agent_id="ada", content="four"), memory(agent_id="ada", content="ü", metadata={"k": "v"})]
        await unit.changes.add([new(each) for each in [*owned, memory(agent_id="bob", content="x")]])
        await unit.changes.delete(await unit.memories.get(owned[0].id, EVERYTHING))
        assert await unit.agents.belongings(["ada", "eve"]) == {"ada": Belongings(1, len('ü{"k":"v"}'.encode()))}
    async with storage.read() as snapshot:
        assert set(await snapshot.agents.belongings(["ada", "bob", "eve"])) == {"ada", "bob"}
        assert await snapshot.agents.belongings([]) == {}


async def test_an_unfinished_change_of_an_agent_is_undone(storage: Storage) -> None:
    await add(storage, agent("hera"))

    async def fail() -> None:
        async with storage.write() as unit:
            await unit.agents.replace(WHOLE)
            await unit.agents.add(agent("new"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with storage.read() as snapshot:
        assert await snapshot.agents.find("hera") == agent("hera")
        assert await snapshot.agents.find("new") is None


async def test_those_that_are_registered_are_told_by_id(storage: Storage) -> None:
    await add(storage, WHOLE, agent("athena"))
    async with storage.read() as snapshot:
        assert await snapshot.agents.registered(["hera", "eris"], changing=["athena"]) == {
            "hera": WHOLE,
            "athena": agent("athena"),
        }
        assert await snapshot.agents.registered([]) == {}


async def test_what_a_unit_asks_for_stays_until_it_ends(storage: Storage) -> None:
    await add(storage, agent("hera"))
    begun, ended = anyio.Event(), list[str]()

    async def change() -> None:
        begun.set()
        async with storage.write() as unit:
            assert await unit.agents.registered([], changing=["hera"]) == {"hera": agent("hera")}
            await unit.agents.replace(WHOLE)
        ended.append("changed")

    async with anyio.create_task_group() as tasks, storage.write() as unit:
        assert await unit.agents.registered(["hera", "eris"]) == {"hera": agent("hera")}
        tasks.start_soon(change)
        await begun.wait()
        for _ in range(20):  # as long as many changes would take, if they did not wait
            assert await unit.agents.find("athena") is None
            assert (await unit.agents.page(None, after=None, limit=9)) == [agent("hera")]
        ended.append("asked")

    assert ended == ["asked", "changed"]


async def test_agents_that_change_each_other_never_wait_for_each_other_for_ever(storage: Storage) -> None:
    names = ["ada", "bob", "hera"]
    await add(storage, *map(agent, names))

    async def change(place: int) -> None:
        by, other = names[place % 3], names[(place + 1 + place % 2) % 3]
        async with storage.write() as unit:
            found = await unit.agents.registered([by], changing=[other])
            await unit.agents.replace(attrs.evolve(found[other], description=f"{place}"))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for place in range(24):
                tasks.start_soon(change, place)


async def test_of_some_ids_those_of_visible_memories_are_known(storage: Storage) -> None:
    mine = memory(agent_id="ada")
    private = memory(agent_id="bob")
    team = memory(agent_id="bob", access_level=AccessLevel.TEAM)
    elsewhere = attrs.evolve(memory(agent_id="eve", access_level=AccessLevel.TEAM), namespace="globex")
    listed = memory(agent_id="eve", access_level=AccessLevel.SHARED, shared_with=(Share("ada"),))
    stored = [mine, private, team, elsewhere, listed]
    async with storage.write() as unit:
        await unit.changes.add([new(each) for each in stored])
    ids = [each.id for each in stored]
    async with storage.read() as snapshot:
        visible = await snapshot.memories.visible([*ids, "no id"], Visibility("ada", "acme"))
        assert visible == {mine.id, team.id, listed.id}
        assert await snapshot.memories.visible([*ids, "no id"], EVERYTHING) == set(ids)
        assert await snapshot.memories.visible([], EVERYTHING) == set()


async def test_an_agent_is_listed_outside_of_a_namespace_or_only_in_it_and_below(storage: Storage) -> None:
    def listed(place: str, level: AccessLevel = AccessLevel.SHARED) -> Memory:
        return memory(namespace=place, access_level=level, shared_with=(Share("bob"), Share("eve")))

    async with storage.write() as unit:
        await unit.changes.add([new(listed("acme")), new(listed("acme/backend"))])
    for within, outside in (("acme", False), ("acme/backend", True), ("acm", True), ("globex", True)):
        async with storage.write() as unit:
            assert await unit.agents.is_listed_outside("bob", within) is outside
            assert not await unit.agents.is_listed_outside("ada", within)
    async with storage.write() as unit:
        await unit.changes.add([new(listed("acme2"))])
    async with storage.read() as snapshot:
        assert await snapshot.agents.is_listed_outside("eve", "acme")
