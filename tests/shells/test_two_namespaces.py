"""Two agents in two namespaces do not see each other's private and team memories, by no way in and no operation."""

import json
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import attrs
import httpx
import pytest
from mcp import Client, MCPError

from tests.shells.command import Command
from tests.shells.guarded import AGENTS, GUARDED, Guarded, guarded_server, mcp_client, settings_of
from tests.shells.serving import request, run_stdio, tool
from tmws_adapters.remote import open_remote
from tmws_core.app import SERVICES
from tmws_core.errors import TmwsError
from tmws_core.operation import operations_described_by
from tmws_mcp.failure import error_body

NOWHERE = "00000000-0000-7000-8000-000000000000"
WORDS = {"private": "heronprivate", "team": "heronteam"}
"""What only those memories of ada's hold."""

Calls = list[tuple[str, dict[str, Any]]]
Way = Callable[[Guarded, str, Calls], Awaitable[list[dict[str, Any]]]]
"""Runs calls in the name of an agent, each of its own, and returns their answers or errors in order."""


@attrs.frozen
class Planted:
    """What ada has stored, by access level: the ids of her memories."""

    ids: dict[str, str]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_server(tmp_path_factory.mktemp("two") / "home", TMWS_MCP_TOOLSETS="all") as running:
        yield running
        assert "Traceback" not in running.server.stop()


@pytest.fixture(scope="module")
def planted(guarded: Guarded) -> Planted:
    ids = {}
    for level, word in WORDS.items():
        stored = guarded.call(
            "ada", "create_memory", content=f"The {word} nests here.", access_level=level, idempotency_key=level
        )
        ids[level] = stored.json()["memory_id"]
        changed = guarded.call("ada", "update_memory", memory_id=ids[level], content=f"The {word} nests there.")
        assert changed.status_code == 200, changed.text
    return Planted(ids)


async def over_rest(guarded: Guarded, agent_id: str, calls: Calls) -> list[dict[str, Any]]:
    def answer(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        response: httpx.Response = guarded.call(agent_id, name, **arguments)
        found: dict[str, Any] = response.json()
        return found

    return [await anyio.to_thread.run_sync(answer, name, arguments) for name, arguments in calls]


async def over_mcp(guarded: Guarded, agent_id: str, calls: Calls) -> list[dict[str, Any]]:
    answers = []
    async with mcp_client(guarded.server, guarded.keys[agent_id]) as client:
        for name, arguments in calls:
            content = (await client.call_tool(name, arguments)).structured_content
            assert content is not None
            answers.append(content)
    return answers


async def over_stdio(guarded: Guarded, agent_id: str, calls: Calls) -> list[dict[str, Any]]:
    lines = [tool(number, name, **arguments) for number, (name, arguments) in enumerate(calls)]
    done = await anyio.to_thread.run_sync(partial(run_stdio, guarded.home, *lines, **terminal(agent_id)))
    return [done.content(number) for number in range(len(calls))]


async def over_python(guarded: Guarded, agent_id: str, calls: Calls) -> list[dict[str, Any]]:
    answers = []
    namespace, _ = AGENTS[agent_id]
    async with open_remote(settings_of(guarded.home), agent_id=agent_id, namespace=namespace) as app:
        for name, arguments in calls:
            try:
                answers.append(await app.call_wire(name, arguments))
            except TmwsError as error:
                answers.append(error_body(error, with_facts=True))
    return answers


def terminal(agent_id: str) -> dict[str, str]:
    return {
        "TMWS_AGENT_ID": agent_id,
        "TMWS_AGENT_NAMESPACE": AGENTS[agent_id][0],
        "TMWS_MCP_TOOLSETS": "all",
    } | GUARDED


WAYS: dict[str, Way] = {"rest": over_rest, "mcp": over_mcp, "stdio": over_stdio, "python": over_python}
OWNED = pytest.mark.embedded("a server owns the directory")
STACKED = [pytest.param(way, marks=OWNED) if way == "python" else way for way in WAYS]
"""The ways, of which one is for an embedded store only."""


def about(memory_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return what somebody may ask to find out about a memory of ada's, by operation: every one that takes an id."""
    named = {"memory_id": memory_id}
    return {
        "get_memory": [named, named | {"include_history": True}, named | {"agent_id": "ada"}],
        "update_memory": [named | {"content": "Mine."}, named | {"expected_version": 9, "importance": 1.0}],
        "delete_memory": [named],
        "share_memory": [named | {"shared_with": ["bob"]}, named | {"shared_with": ["bob"], "revoke": True}],
        "explain_access": [named | {"agent_id": "bob"}, named | {"agent_id": "ada"}],
    }


GENERAL: dict[str, list[dict[str, Any]]] = {
    "create_memory": [{"content": f"Bob's note {key}", "idempotency_key": key} for key in WORDS],
    "create_memories": [{"memories": [{"content": "Bob's third note", "idempotency_key": "team"}]}],
    "search_memories": [
        {"query": f"where does the {word} nest?", "mode": mode, "explain": True, "details": True, **narrowed}
        for word in WORDS.values()
        for mode in ("lexical", "semantic", "hybrid")
        for narrowed in ({}, {"namespace": "acme"}, {"agent_id": "ada"}, {"as_of": "2100-01-01T00:00:00Z"})
    ],
    "list_memories": [{}, {"namespace": "acme", "details": True}, {"agent_id": "ada", "include_superseded": True}],
    "get_memory_stats": [{}, {"agent_id": "ada"}],
    "list_agents": [{}, {"namespace": "acme"}],
    "get_agent": [{"agent_id": "ada"}],
    "get_current_agent": [{}],
    "register_agent": [{"agent_id": "ada"}],
    "update_agent": [{"agent_id": "ada", "namespace": "globex"}],
    "deactivate_agent": [{"agent_id": "ada"}],
    "health_check": [{}],
    "get_system_stats": [{}],
}


def flat(table: dict[str, list[dict[str, Any]]]) -> Calls:
    return [(name, arguments) for name, variants in table.items() for arguments in variants]


def leaks(answer: object, said: object, planted: Planted) -> set[str]:
    """Return what an answer tells of ada's memories that was not said in the call."""
    text, own = json.dumps(answer), json.dumps(said)
    return {each for each in (*WORDS.values(), *planted.ids.values()) if each in text and each not in own}


def wordless(answer: dict[str, Any], memory_id: str) -> str:
    """Return an answer as it would be for an id that never existed, without what differs between any two."""
    error = {name: fact for name, fact in answer.get("error", {}).items() if name != "request_id"}
    return json.dumps({**answer, "error": error}, sort_keys=True).replace(memory_id, NOWHERE)


def test_every_operation_is_tried() -> None:
    assert about(NOWHERE).keys() | GENERAL.keys() == set(operations_described_by(SERVICES))


@pytest.mark.anyio
@pytest.mark.parametrize("way", STACKED)
async def test_nothing_that_bob_asks_tells_of_what_ada_stored(guarded: Guarded, planted: Planted, way: str) -> None:
    calls = [*flat(GENERAL), *(call for memory_id in planted.ids.values() for call in flat(about(memory_id)))]
    answers = await WAYS[way](guarded, "bob", calls)
    for (name, arguments), answer in zip(calls, answers, strict=True):
        assert not leaks(answer, arguments, planted), (name, arguments, answer)
    by_name = {name: answer for (name, _), answer in zip(calls, answers, strict=True)}
    assert by_name["get_current_agent"]["agent_id"] == "bob"
    assert by_name["get_agent"]["error"]["code"] == "agent_not_found"
    assert by_name["get_memory_stats"]["error"]["code"] == "forbidden"
    assert {each["agent_id"] for each in by_name["list_agents"].get("agents", [])} <= {"bob"}


@pytest.mark.anyio
@pytest.mark.parametrize("way", STACKED)
async def test_bob_cannot_tell_a_memory_of_adas_from_one_that_never_was(
    guarded: Guarded, planted: Planted, way: str
) -> None:
    missing = [wordless(each, NOWHERE) for each in await WAYS[way](guarded, "bob", flat(about(NOWHERE)))]
    assert all('"not_found"' in each or '"forbidden"' in each for each in missing)
    for memory_id in planted.ids.values():
        answers = await WAYS[way](guarded, "bob", flat(about(memory_id)))
        assert [wordless(each, memory_id) for each in answers] == missing


@pytest.mark.anyio
@pytest.mark.parametrize("way", STACKED)
async def test_the_same_questions_show_ada_all_of_it_and_her_team_what_is_for_it(
    guarded: Guarded, planted: Planted, way: str
) -> None:
    reading = {name: GENERAL[name] for name in ("search_memories", "list_memories")}
    for agent_id, levels in (("ada", {"private", "team"}), ("ann", {"team"})):
        answers = await WAYS[way](guarded, agent_id, flat(reading))
        told = {each for answer in answers for each in leaks(answer, None, planted)}
        assert told == {each for level in levels for each in (WORDS[level], planted.ids[level])}


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["rest", "stdio"])
async def test_storing_what_ada_stored_tells_bob_nothing(guarded: Guarded, planted: Planted, way: str) -> None:
    contents = [f"The {word} nests there." for word in WORDS.values()]
    answers = await WAYS[way](guarded, "bob", [("create_memory", {"content": content}) for content in contents])
    assert all(answer["success"] and not leaks(answer, None, planted) for answer in answers)
    gone = await WAYS[way](guarded, "bob", [("delete_memory", {"memory_id": each["memory_id"]}) for each in answers])
    assert all(answer["success"] for answer in gone)


@pytest.mark.anyio
async def test_bob_finds_nothing_of_adas_among_the_resources(guarded: Guarded, planted: Planted) -> None:
    async def refusal(client: Client, memory_id: str) -> str:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(f"memory://{memory_id}")
        return refused.value.error.model_dump_json().replace(memory_id, NOWHERE)

    async with mcp_client(guarded.server, guarded.keys["bob"]) as client:
        listed = (await client.list_resources()).model_dump_json()
        assert not leaks(listed, None, planted)
        assert len({await refusal(client, each) for each in (NOWHERE, *planted.ids.values())}) == 1
    async with mcp_client(guarded.server, guarded.keys["ada"]) as client:
        listed = (await client.list_resources()).model_dump_json()
        assert set(planted.ids.values()) <= leaks(listed, None, planted)


def test_a_terminal_of_bobs_finds_nothing_of_adas_among_the_resources(guarded: Guarded, planted: Planted) -> None:
    reads = [request(memory_id, "resources/read", uri=f"memory://{memory_id}") for memory_id in planted.ids.values()]
    for agent_id, shown in (("bob", set[str]()), ("ada", {*planted.ids.values(), *WORDS.values()})):
        done = run_stdio(guarded.home, request("list", "resources/list"), *reads, **terminal(agent_id))
        told = set().union(*(leaks(done.answer(each), each, planted) for each in planted.ids.values()))
        assert told == {each for each in shown if each in WORDS.values()}
        assert leaks(done.answer("list"), None, planted) == shown


def test_the_command_line_shows_bob_nothing_of_adas(guarded: Guarded, planted: Planted) -> None:
    command = Command(guarded.home, env={"TMWS_HOME": str(guarded.home)})
    refusals = set()
    for memory_id in (NOWHERE, *planted.ids.values()):
        for words in (["get"], ["delete"], ["update", "--content", "Mine."]):
            done = command.run("memory", words[0], memory_id, *words[1:], "--agent-id", "bob")
            assert (done.code, done.out) == (3, "")
            refusals.add(done.err.replace(memory_id, NOWHERE))
    assert len(refusals) == 1
    stats = command.ok("memory", "get-stats", "--agent-id", "bob", "--json").answer
    assert "acme" not in stats["by_namespace"]
