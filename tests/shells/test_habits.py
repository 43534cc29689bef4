"""Clients with habits of their own: what they send can mean one thing only, and is taken as that."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.shells.serving import HttpServer, conversation, tool
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
