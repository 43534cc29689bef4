"""Clients with habits of their own: what they send can mean one thing only, and is taken as that."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.shells.serving import MODERN, HttpServer, conversation, tool
from tests.shells.test_http_server import JSON, rpc, session
from tmws_core.app import SERVICES
from tmws_core.operation import operations_described_by
from tmws_mcp.schema import input_schema

OPERATIONS = operations_described_by(SERVICES)

Arguments = Mapping[str, Any]
Habit = Callable[[Arguments], Arguments]
Call = Callable[[str, Arguments], dict[str, Any]]


def nulls(given: Arguments) -> Arguments:
    """Leave nothing out: what is not said is null, or empty."""
    unsaid = ("agent_id", "namespace", "session_id", "cursor", "memory_type")
    return {**dict.fromkeys(unsaid), "source": "", "min_importance": None, "occurred_after": "", **given}


def strings(given: Arguments) -> Arguments:
    """Know no other type."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


def injected(given: Arguments) -> Arguments:
    """Add what workflow tools add to each call."""
    return {"sessionId": "chat-7", "action": "sendMessage", "chatInput": "", "toolCallId": "call_1", **given}


def of_this_call(given: Arguments, name: str) -> Arguments:
    """Keep to what the operation has: a null for a field of another one is a mistake."""
    known = input_schema(OPERATIONS[name])["properties"].keys() | injected({}).keys() | {"ttl"}
    return {key: value for key, value in given.items() if key in known}


@pytest.fixture(params=["stdio", "http", "rest"])
def call(request: pytest.FixtureRequest, home: Path, server: HttpServer) -> Any:
    """Return what calls a tool over one way in, and returns what it answered."""
    if request.param == "rest":
        yield lambda name, given: server.call(name, **given).json()
    elif request.param == "http":

        def post(name: str, given: Arguments) -> dict[str, Any]:
            headers = {"content-type": "application/json"}
            answer = server.client.post("/mcp", content=tool(1, name, **given), headers=headers).json()
            found: dict[str, Any] = answer["result"]["structuredContent"]
            return found

        yield post
    else:
        with conversation(home) as terminal:
            yield lambda name, given: terminal.ask(tool(1, name, **given))["result"]["structuredContent"]


@pytest.mark.parametrize("habit", [nulls, strings, injected])
def test_client_with_a_habit_stores_and_finds(call: Call, habit: Habit) -> None:
    def ask(name: str, **given: Any) -> dict[str, Any]:
        answer = call(name, of_this_call(habit(given), name))
        assert answer.get("success"), answer
        return answer

    text = f"The lighthouse keeper counts ships, says a client that likes {habit.__name__}."
    stored = ask("create_memory", content=text, tags=["ships", habit.__name__], importance=0.6, ttl="30d")
    found = ask("search_memories", query="Who counts ships?", limit=50, tags_any=[habit.__name__])
    read = ask("get_memory", memory_id=stored["memory_id"])
    assert stored["memory_id"] in [hit["memory_id"] for hit in found["results"]]
    assert set(read["memory"]["tags"]) == {"ships", habit.__name__}
    assert read["memory"].get("session_id") is None
    created, expires = (datetime.fromisoformat(read["memory"][name]) for name in ("created_at", "expires_at"))
    assert abs(expires - created - timedelta(days=30)) < timedelta(hours=1)


Ask = Callable[[str, Any], dict[str, Any]]
"""Sends a request of MCP with parameters of any form, and returns the message that comes back."""


def over_http(server: HttpServer, headers: Mapping[str, str]) -> Ask:
    def ask(method: str, params: Any) -> dict[str, Any]:
        answer = server.client.post("/mcp", json={**rpc(method), "params": params}, headers=headers)
        found: dict[str, Any] = answer.json()
        return found

    return ask


def of_newest_version(server: HttpServer) -> Ask:
    def ask(method: str, params: Any) -> dict[str, Any]:
        headers = {**JSON, "mcp-protocol-version": "2026-07-28", "mcp-method": method, "mcp-name": params["name"]}
        return over_http(server, headers)(method, {**params, "_meta": MODERN})

    return ask


def line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


@pytest.fixture
def ways(home: Path, server: HttpServer) -> Iterator[dict[str, Ask]]:
    with conversation(home) as terminal:
        yield {
            "stdio": lambda method, params: terminal.ask(
                json.dumps({**rpc(method), "params": params}).encode() + b"\n"
            ),
            "http": over_http(server, JSON),
            "session": over_http(server, session(server)),
            "newest": of_newest_version(server),
        }


NOTHING: tuple[Any, ...] = ([], "", " ", "{}", None)
WRONG: tuple[Any, ...] = ([1], [{"content": "x"}], "x", "[]", '{"content"', 0, False, 1.5, ["x" * 100_000])


def test_arguments_are_the_object_that_they_can_only_mean_or_refused_by_their_name(ways: Mapping[str, Ask]) -> None:
    for way, ask in ways.items():
        for nothing in NOTHING:
            answer = ask("tools/call", {"name": "get_memory_stats", "arguments": nothing})
            assert answer["result"]["structuredContent"]["success"], (way, nothing)
        text = json.dumps({"content": f"The ferry leaves at nine, says a string over {way}."})
        answer = ask("tools/call", {"name": "create_memory", "arguments": text})
        assert answer["result"]["structuredContent"]["stored"], way
        narrowed = {"name": "list_memories", "arguments": {"tags": ["nosuch"], "agent": "nobody", "type": "fact"}}
        told = ask("tools/call", narrowed)["result"]["content"][0]["text"]
        filters = "agent_id nobody (what that agent owns), memory_type, tags_any"
        assert told == f"There are none with these filters: {filters}.", way
        if way != "newest":  # whose parameters have to say the version
            assert ask("ping", [])["result"] == {}, way
            assert ask("tools/list", [])["result"]["tools"], way

        for wrong in WRONG:
            result = ask("tools/call", {"name": "create_memory", "arguments": wrong})["result"]
            assert result["isError"], (way, wrong)
            assert result["structuredContent"]["error"]["field"] == "arguments", (way, wrong)
