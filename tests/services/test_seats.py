"""Seats and quotas: who may write under a licence, how much an agent may own, and what always works."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from tests.contracts.ollama_double import OllamaDouble
from tests.licences import issued, licensed, unsigned
from tests.services.conftest import World
from tests.shells.serving import environment
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.domain.license import Tier
from tmws_core.domain.memory import AccessLevel, SharePermission
from tmws_core.errors import LicenseLimit, QuotaExceeded
from tmws_core.messages.agents import DeactivateAgent, RegisterAgent, UpdateAgent
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    GetMemory,
    GetMemoryStats,
    ListMemories,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories

pytestmark = pytest.mark.anyio

FREE: dict[str, Any] = {"license_key": unsigned(Tier.FREE)}
STANDARD = {"license_key": issued(Tier.STANDARD, (datetime.now(UTC) + timedelta(days=90)).date())}  # noqa: TID251 - the server's clock counts
LAPSED = {"license_key": issued(Tier.STANDARD, datetime(2025, 12, 15, tzinfo=UTC).date())}


@asynccontextmanager
async def opened(settings: Settings, ollama: OllamaDouble, **changes: Any) -> AsyncIterator[World]:
    """Open the same store under other settings."""
    changed = attrs.evolve(settings, **changes)
    async with open_app(changed) as app:
        yield World(app, changed, ollama)


async def add(world: World, agent_id: str, content: str = "", **fields: Any) -> str:
    request = CreateMemory(content=content or f"I am {agent_id}.", **fields)
    return (await world.app.call(world.agent(agent_id), request)).memory_id


def agents(world: World) -> list[object]:
    return [row[0] for row in world.rows("SELECT id FROM agents ORDER BY id")]


async def test_a_second_agent_is_one_too_many_for_free(settings: Settings, ollama: OllamaDouble) -> None:
    async with opened(settings, ollama, **FREE) as world:
        await add(world, "ada")
        with pytest.raises(LicenseLimit) as refusal:
            await add(world, "bob")
        assert (refusal.value.tier, refusal.value.limit, refusal.value.agent_id) == ("FREE", 1, "bob")
        assert refusal.value.message.startswith("The FREE licence allows 1 agent, and bob would be one more")
        await add(world, "ada", "I may go on.")
        assert agents(world) == ["ada"]
        assert world.rows("SELECT count(*) FROM memories_v2") == [(2,)]


async def test_an_eleventh_agent_is_one_too_many_for_standard(settings: Settings, ollama: OllamaDouble) -> None:
    async with opened(settings, ollama, **STANDARD) as world:
        for number in range(10):
            await add(world, f"agent-{number}")
        with pytest.raises(LicenseLimit, match="The STANDARD licence allows 10 agents, and agent-10 would be one more"):
            await add(world, "agent-10")
        assert len(agents(world)) == 10


async def test_enterprise_has_room_for_everybody(world: World) -> None:
    for number in range(30):
        await add(world, f"agent-{number}")
    assert len(agents(world)) == 30


async def test_a_batch_for_more_agents_than_there_are_seats_stores_nothing(
    settings: Settings, ollama: OllamaDouble
) -> None:
    async with opened(settings, ollama, **FREE) as world:
        batch = tuple(CreateMemory(content=f"Of {name}.", agent_id=name) for name in ("ada", "bob"))
        with pytest.raises(LicenseLimit):
            await world.app.call(world.operator, CreateMemories(memories=batch))
        assert agents(world) == []
        assert world.rows("SELECT count(*) FROM memories_v2") == [(0,)]


async def test_registering_takes_a_seat_and_deactivating_gives_it_back(
    settings: Settings, ollama: OllamaDouble
) -> None:
    async with opened(settings, ollama, **FREE) as world:
        await world.app.call(world.operator, RegisterAgent(agent_id="ada"))
        with pytest.raises(LicenseLimit):
            await world.app.call(world.operator, RegisterAgent(agent_id="bob"))
        await world.app.call(world.operator, DeactivateAgent(agent_id="ada"))
        await add(world, "bob")
        with pytest.raises(LicenseLimit, match="ada would be one more"):
            await world.app.call(world.operator, UpdateAgent(agent_id="ada", active=True))


@pytest.mark.parametrize("license_", [FREE, LAPSED], ids=["free", "expired"])
async def test_with_a_smaller_licence_the_first_agents_go_on_writing_and_all_keep_what_they_have(
    settings: Settings, ollama: OllamaDouble, world: World, license_: dict[str, Any]
) -> None:
    first = await add(world, "ada", "The rose blooms.", access_level=AccessLevel.TEAM)
    second = await add(world, "bob", "The tulip blooms.")
    async with opened(settings, ollama, **license_) as smaller:
        await add(smaller, "ada", "The lily blooms.")
        await smaller.app.call(smaller.agent("ada"), UpdateMemory(memory_id=first, content="The rose fades."))
        bob = smaller.agent("bob")
        with pytest.raises(LicenseLimit):
            await add(smaller, "bob", "The daisy blooms.")
        with pytest.raises(LicenseLimit):
            await smaller.app.call(bob, UpdateMemory(memory_id=second, content="The tulip fades."))
        assert (await smaller.app.call(bob, GetMemory(memory_id=second))).memory.content == "The tulip blooms."
        assert (await smaller.app.call(bob, SearchMemories(query="tulip"))).results[0].memory_id == second
        assert {each.memory_id for each in (await smaller.app.call(bob, ListMemories())).memories} == {first, second}
        assert (await smaller.app.call(bob, GetMemoryStats())).total == 2
        await smaller.app.call(bob, UpdateMemory(memory_id=second, tags=("flowers",)))
        await smaller.app.call(bob, ShareMemory(memory_id=second, shared_with=("ada",)))
        await smaller.app.call(bob, DeleteMemory(memory_id=second))


async def test_the_error_of_an_expired_licence_says_that_it_has_expired(
    settings: Settings, ollama: OllamaDouble
) -> None:
    async with opened(settings, ollama, **LAPSED) as world:
        await add(world, "ada")
        with pytest.raises(LicenseLimit, match="The expired STANDARD licence allows 1 agent"):
            await add(world, "bob")


async def test_whoever_may_write_to_a_memory_of_another_needs_a_seat_of_its_own(
    settings: Settings, ollama: OllamaDouble, world: World
) -> None:
    shared = await add(world, "ada", "The rose blooms.", access_level=AccessLevel.SHARED, shared_with=("bob",))
    await world.app.call(
        world.agent("ada"), ShareMemory(memory_id=shared, shared_with=("bob",), permission=SharePermission.WRITE)
    )
    await add(world, "bob")
    async with opened(settings, ollama, **FREE) as smaller:
        with pytest.raises(LicenseLimit, match="bob would be one more"):
            await smaller.app.call(smaller.agent("bob"), UpdateMemory(memory_id=shared, content="The rose fades."))
        await smaller.app.call(smaller.operator, UpdateMemory(memory_id=shared, content="The operator takes no seat."))


@pytest.fixture
def processes(settings: Settings, ollama: OllamaDouble) -> Iterator[list["subprocess.Popen[str]"]]:
    """Four processes over one store, each about to let eight agents in under a licence for ten."""
    variables = environment(
        settings.home,
        TMWS_OLLAMA_BASE_URL=ollama.url,
        TMWS_OLLAMA_MODEL=ollama.model,
        **licensed(STANDARD["license_key"]),
    )
    with ExitStack() as stack:
        running = []
        for process in range(4):
            names = [f"agent-{process}-{number}" for number in range(8)]
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.services.registering", *names],
                    env=variables,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(child.kill)
            running.append(child)
        yield running


async def test_processes_that_register_at_once_do_not_exceed_the_licence(
    processes: list["subprocess.Popen[str]"], world: World
) -> None:
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    admitted = [name for process in processes for name in process.communicate(timeout=120)[0].split()]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(admitted) == 10
    assert agents(world) == sorted(admitted)
    assert world.rows("SELECT count(*) FROM memories_v2") == [(10,)]


async def test_an_agent_may_own_as_many_memories_as_its_quota_says(settings: Settings, ollama: OllamaDouble) -> None:
    async with opened(settings, ollama, quota_memories=3) as world:
        mine = await add(world, "ada", "One.")
        await add(world, "ada", "Two.")
        with pytest.raises(QuotaExceeded) as refusal:
            await world.app.call(
                world.agent("ada"), CreateMemories(memories=tuple(CreateMemory(content=text) for text in "abc"))
            )
        assert (refusal.value.agent_id, refusal.value.what, refusal.value.limit) == ("ada", "memories", 3)
        assert world.rows("SELECT count(*) FROM memories_v2") == [(2,)]
        await add(world, "ada", "Three.")
        await add(world, "bob", "One.")
        with pytest.raises(QuotaExceeded):
            await add(world, "ada", "Four.")
        await world.app.call(world.agent("ada"), UpdateMemory(memory_id=mine, content="One, and longer than before."))
        await world.app.call(world.agent("ada"), DeleteMemory(memory_id=mine))
        await add(world, "ada", "Four.")


async def test_an_agent_may_own_as_many_bytes_as_its_quota_says(settings: Settings, ollama: OllamaDouble) -> None:
    async with opened(settings, ollama, quota_bytes=20) as world:
        mine = await add(world, "ada", "é" * 9)
        ada = world.agent("ada")
        for request in (
            UpdateMemory(memory_id=mine, content="é" * 10),
            # The former text is kept as history.
            UpdateMemory(memory_id=mine, content="a"),
            UpdateMemory(memory_id=mine, metadata={"a": 1}),
            CreateMemory(content="b"),
        ):
            with pytest.raises(QuotaExceeded, match="ada may own 20 bytes"):
                await world.app.call(ada, request)
        assert world.rows("SELECT content, metadata FROM memories_v2") == [("é" * 9, "{}")]
        await world.app.call(ada, DeleteMemory(memory_id=mine))
        mine = await add(world, "ada", "a" * 9)
        await world.app.call(ada, UpdateMemory(memory_id=mine, content="b" * 9))


async def test_what_is_over_a_smaller_quota_can_be_labelled_and_deleted(
    settings: Settings, ollama: OllamaDouble, world: World
) -> None:
    mine = await add(world, "ada", "a" * 50)
    async with opened(settings, ollama, quota_bytes=20) as smaller:
        ada = smaller.agent("ada")
        await smaller.app.call(ada, UpdateMemory(memory_id=mine, tags=("long",)))
        with pytest.raises(QuotaExceeded):
            await smaller.app.call(ada, UpdateMemory(memory_id=mine, content="a" * 40))
        await smaller.app.call(ada, DeleteMemory(memory_id=mine))
        await add(smaller, "ada", "a" * 18)


async def test_the_operator_cannot_exceed_the_quota_of_an_agent_that_it_acts_for(
    settings: Settings, ollama: OllamaDouble
) -> None:
    async with opened(settings, ollama, quota_memories=1) as world:
        await add(world, "ada")
        with pytest.raises(QuotaExceeded):
            await world.app.call(world.operator, CreateMemory(content="In her name.", agent_id="ada"))


async def test_who_may_only_write_fills_half_of_the_owners_quota_at_most(
    settings: Settings, ollama: OllamaDouble
) -> None:
    async with opened(settings, ollama, quota_bytes=2000) as world:
        ada, bob = world.agent("ada"), world.agent("bob")
        shared = await add(world, "ada", "The plan.")
        share = ShareMemory(memory_id=shared, shared_with=("bob",), permission=SharePermission.WRITE)
        await world.app.call(ada, share)
        for number, size in enumerate((200, 200, 200, 200, 189)):
            await world.app.call(bob, UpdateMemory(memory_id=shared, content=f"{number}" * size))
        for change in ({"content": "x" * 200}, {"content": "."}, {"metadata": {"a": "x" * 200}}):
            with pytest.raises(QuotaExceeded, match="Others may fill ada's quota up to 1000 bytes") as refusal:
                await world.app.call_wire(bob, "update_memory", {"memory_id": shared, **change})
            assert (refusal.value.agent_id, refusal.value.limit, refusal.value.by_other) == ("ada", 1000, True)
        await world.app.call(bob, UpdateMemory(memory_id=shared, tags=("plan",)))
        await world.app.call(ada, UpdateMemory(memory_id=shared, content="y" * 200))
        await world.app.call(world.operator, UpdateMemory(memory_id=shared, content="z" * 200))
        await add(world, "ada", "w" * 500)
        with pytest.raises(QuotaExceeded, match="ada may own 2000 bytes"):
            await add(world, "ada", "v" * 700)


async def test_who_may_only_write_is_not_bound_where_there_is_no_quota_of_bytes(
    settings: Settings, ollama: OllamaDouble
) -> None:
    async with opened(settings, ollama, quota_memories=1) as world:
        shared = await add(world, "ada", "The plan.")
        share = ShareMemory(memory_id=shared, shared_with=("bob",), permission=SharePermission.WRITE)
        await world.app.call(world.agent("ada"), share)
        await world.app.call(world.agent("bob"), UpdateMemory(memory_id=shared, content="x" * 5000))


async def test_what_is_added_to_a_memory_counts_against_the_quota(settings: Settings, ollama: OllamaDouble) -> None:
    async with opened(settings, ollama, quota_bytes=20) as world:
        await add(world, "ada", "é" * 9)
        with pytest.raises(QuotaExceeded, match="ada may own 20 bytes"):
            await world.app.call(world.agent("ada"), CreateMemory(content="é" * 9, metadata={"a": 1}))
        assert world.rows("SELECT metadata FROM memories_v2") == [("{}",)]
