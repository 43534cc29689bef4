"""Files of agents: strict to read, harmless to read twice, and without power where anybody may have put them."""

import json
import logging
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from tests.services.conftest import World
from tmws_adapters.profiles import (
    PROFILES,
    Profiles,
    Registered,
    bundled_profiles,
    files,
    first_file,
    load_custom_agents,
    profiles_in,
    register_all,
)
from tmws_core.domain.agent import Role
from tmws_core.errors import InvalidField, RequestTooLarge
from tmws_core.messages.agents import AgentView, GetAgent, ListAgents, RegisterAgent, UpdateAgent
from tmws_core.operation import Request

Answer = TypeVar("Answer")

SIX = {
    "athena-conductor",
    "artemis-optimizer",
    "hestia-auditor",
    "eris-coordinator",
    "hera-strategist",
    "muses-documenter",
}


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def of(*agents: RegisterAgent) -> Profiles:
    return Profiles(name="a file", agents=agents)


async def register(world: World, profiles: Profiles, **how: Any) -> Registered:
    async def ask(request: Request[Answer]) -> Answer:
        return await world.app.call(world.operator, request)

    return await register_all(ask, profiles, **how)


async def agent(world: World, agent_id: str) -> AgentView:
    return (await world.app.call(world.operator, GetAgent(agent_id=agent_id))).agent


async def ids(world: World) -> list[str]:
    return [each.agent_id for each in (await world.app.call(world.operator, ListAgents())).agents]


@pytest.fixture(autouse=True)
def nothing_in_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with another one for /etc/tmws, which is returned."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(files, "SYSTEM_DIRECTORY", tmp_path / "etc")
    return tmp_path / "etc"


def test_the_six_agents_come_along_with_everything_that_describes_them() -> None:
    assert PROFILES == ("trinitas",)
    agents = bundled_profiles("trinitas").agents
    assert {each.agent_id for each in agents} == SIX
    assert {each.role for each in agents} == {Role.AGENT}
    assert all(each.namespace and each.display_name and each.description and each.capabilities for each in agents)


@pytest.mark.parametrize("shape", [lambda agents: agents, lambda agents: {"agents": agents}], ids=["list", "object"])
def test_a_file_is_a_list_or_an_object_with_one(tmp_path: Path, shape: Any) -> None:
    path = written(tmp_path / "a.json", shape([{"agent_id": "one", "role": "reader"}, {"agent_id": "two"}]))
    assert profiles_in(path).agents == (RegisterAgent(agent_id="one", role=Role.READER), RegisterAgent(agent_id="two"))


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("{not json", "agents"),
        ("", "agents"),
        ("\udcff", "agents"),
        ("3", "arguments"),
        ({}, "agents"),
        ({"agents": {}}, "agents"),
        ({"agents": [], "more": 1}, "more"),
        ([3], "agents[0]"),
        ([{"agent_id": "one"}, {}], "agents[1].agent_id"),
        ([{"agent_id": "o ne"}], "agents[0].agent_id"),
        ([{"agent_id": "one", "role": "owner"}], "agents[0].role"),
        ([{"agent_id": "one", "rolle": "admin"}], "agents[0].rolle"),
        ([{"agent_id": "one", "capabilities": ["a", ""]}], "agents[0].capabilities[1]"),
        ([{"agent_id": "one", "metadata": []}], "agents[0].metadata"),
        ([{"agent_id": "one"}, {"agent_id": "one"}], "agents[1].agent_id"),
    ],
    ids=str,
)
def test_a_malformed_file_is_refused_with_the_path_of_the_field(tmp_path: Path, content: Any, field: str) -> None:
    path = tmp_path / "a.json"
    raw = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(raw.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidField) as refusal:
        profiles_in(path)
    assert refusal.value.field == field


def test_an_endless_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES", 100)
    with pytest.raises(RequestTooLarge):
        profiles_in(written(tmp_path / "a.json", "[" + " " * 100 + "]"))


def test_agents_are_looked_for_at_home_and_in_the_system_and_not_in_the_working_directory(
    tmp_path: Path, nothing_in_the_system: Path
) -> None:
    home = tmp_path / "home"
    written(tmp_path / "work" / "custom_agents.json", [])
    assert first_file(home) is None
    for directory in (nothing_in_the_system, home):
        path = written(directory / "custom_agents.json", [])
        assert first_file(home) == path


@pytest.mark.anyio
async def test_agents_are_registered_once_and_updated_when_asked_for(world: World) -> None:
    first = of(RegisterAgent(agent_id="one", description="Old."), RegisterAgent(agent_id="two"))
    assert attrs.asdict(await register(world, first)) == attrs.asdict(Registered(registered=["one", "two"]))
    assert (await register(world, first)).known == ["one", "two"]
    changed = of(RegisterAgent(agent_id="one", description="New."), RegisterAgent(agent_id="two"))
    assert (await register(world, changed)).known == ["one", "two"]
    assert (await agent(world, "one")).description == "Old."
    done = await register(world, changed, update=True)
    assert (done.updated, done.known) == (["one"], ["two"])
    assert (await agent(world, "one")).description == "New."


@pytest.mark.anyio
async def test_an_update_leaves_alone_what_the_file_leaves_out_but_for_the_role(world: World) -> None:
    whole = RegisterAgent(
        agent_id="one", namespace="acme", display_name="One", capabilities=("a",), metadata={"k": 1}, role=Role.ADMIN
    )
    await register(world, of(whole))
    before = await agent(world, "one")
    assert (await register(world, of(RegisterAgent(agent_id="one")), update=True)).updated == ["one"]
    after = await agent(world, "one")
    assert after == attrs.evolve(before, role=Role.AGENT, updated_at=after.updated_at)


@pytest.mark.anyio
async def test_a_dry_run_tells_the_same_and_changes_nothing(world: World) -> None:
    await register(world, of(RegisterAgent(agent_id="one")))
    wanted = of(RegisterAgent(agent_id="one", description="New."), RegisterAgent(agent_id="two"))
    done = await register(world, wanted, update=True, dry_run=True)
    assert (done.registered, done.updated) == (["two"], ["one"])
    assert await ids(world) == ["one"]
    assert (await agent(world, "one")).description is None
    assert await register(world, wanted, update=True) == done


@pytest.mark.anyio
async def test_a_start_registers_custom_agents_and_says_so_in_one_line(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = world.settings.home
    written(home / "custom_agents.json", [{"agent_id": "one", "role": "admin"}, {"agent_id": "two"}])
    with caplog.at_level(logging.INFO, "tmws"):
        await load_custom_agents(world.app, world.operator, home)
    [line] = [record.getMessage() for record in caplog.records if "Custom agents" in record.getMessage()]
    assert "2 registered, 0 known" in line
    assert (await agent(world, "one")).role is Role.ADMIN
    await world.app.call(world.operator, UpdateAgent(agent_id="two", description="Changed since."))
    await load_custom_agents(world.app, world.operator, home)
    assert (await agent(world, "two")).description == "Changed since."
    assert not (tmp_path / "work" / "custom_agents.json").exists()


@pytest.mark.anyio
async def test_a_start_goes_on_without_a_file_that_is_broken_and_names_the_field(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(
        world.settings.home / "custom_agents.json", [{"agent_id": "one"}, {"agent_id": "two", "role": "boss"}]
    )
    await load_custom_agents(world.app, world.operator, world.settings.home)
    assert "agents[1].role" in caplog.text
    assert await ids(world) == []
    written(path, [{"agent_id": "one"}, {"agent_id": "a/b"}])
    await load_custom_agents(world.app, world.operator, world.settings.home)
    assert "agents[1].agent_id" in caplog.text
    assert await ids(world) == []
