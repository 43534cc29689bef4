"""What is large of a call over MCP goes past the SDK, and arrives as what is small does."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.shells.serving import MODERN, HttpServer, conversation, http_server, request, tool
from tmws_core.messages.memory import ALL
from tmws_mcp.readable import readable

CONTENTS = [f'{number} "quoted" \\ \u6f22\u5b57 {"text " * 1000}' for number in range(30)]

BOUND = 10_000
"""Bytes of a default answer over MCP."""

ERAS: dict[str, dict[str, str]] = {"sessions": {}, "no sessions": {"mcp-protocol-version": "2026-07-28"}}


def call_over_http(server: HttpServer, era: str, name: str, **arguments: object) -> dict[str, Any]:
    head = {"accept": "application/json, text/event-stream", **ERAS[era]}
    if ERAS[era]:
        head |= {"mcp-method": "tools/call", "mcp-name": name}
    params = {"name": name, "arguments": arguments, "_meta": MODERN}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    result: dict[str, Any] = server.client.post("/mcp", json=message, headers=head).json()["result"]
    return result


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with http_server(tmp_path_factory.mktemp("large"), TMWS_RATE_LIMIT_ENABLED="false") as running:
        yield running


@pytest.mark.parametrize("era", ERAS)
def test_a_large_call_that_is_nested_beside_its_arguments_is_refused(server: HttpServer, era: str) -> None:
    nested: Any = 1
    for _ in range(300):
        nested = {"a": nested}
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": nested, "arguments": {"memories": [{"content": "x" * 100_000}]}, "_meta": MODERN},
    }
    head = {"accept": "application/json, text/event-stream", **ERAS[era]}
    answer = server.client.post("/mcp", json=message, headers=head)
    assert (answer.status_code, answer.json()["id"], answer.json()["error"]["code"]) == (400, 1, -32600)


@pytest.mark.parametrize("era", ERAS)
def test_a_large_call_and_its_large_answer_arrive_over_http(server: HttpServer, era: str) -> None:
    memories = [{"content": text, "session_id": era, "metadata": {"a": [1, {"b": era}]}} for text in CONTENTS]
    stored = call_over_http(server, era, "create_memories", memories=memories)["structuredContent"]["results"]
    assert len(stored) == len(CONTENTS)
    asked = {"session_id": era, "limit": 100, "max_chars": ALL}
    result = call_over_http(server, era, "list_memories", **asked)
    assert not result.get("isError")
    assert result["content"][0]["text"] == readable(result["structuredContent"])
    assert sorted(each["content"] for each in result["structuredContent"]["memories"]) == sorted(CONTENTS)
    assert result["structuredContent"] == server.call("list_memories", **asked).json()


def test_a_large_call_and_its_large_answer_arrive_over_stdio(tmp_path: Path) -> None:
    with conversation(tmp_path) as client:
        memories = [{"content": text, "metadata": {"a": [1]}} for text in CONTENTS]
        stored = client.ask(tool(1, "create_memories", memories=memories))
        assert len(stored["result"]["structuredContent"]["results"]) == len(CONTENTS)
        result = client.ask(tool(2, "list_memories", limit=100, max_chars=ALL))["result"]
    assert result["content"][0]["text"] == readable(result["structuredContent"])
    assert sorted(each["content"] for each in result["structuredContent"]["memories"]) == sorted(CONTENTS)


@pytest.mark.parametrize("era", ERAS)
def test_a_search_over_long_memories_is_answered_in_a_bound_twice_over(server: HttpServer, era: str) -> None:
    facts = [f"The dentist of {era} number {number} moved to Tuesday." for number in range(12)]
    half = "The weather in the valley stays mild and the river runs low. " * 490
    memories = [{"content": f"{half}{fact} {half}", "session_id": f"long {era}"} for fact in facts]
    assert server.call("create_memories", memories=memories).status_code == 200
    asked = {"query": "When is the dentist?", "session_id": f"long {era}"}
    answer = server.call("search_memories", **asked)
    result = call_over_http(server, era, "search_memories", **asked)
    assert len(answer.content) <= 6_000
    assert len(json.dumps(result, ensure_ascii=False).encode()) <= BOUND
    hits, [block] = result["structuredContent"]["results"], result["content"]
    assert [hit["content"] for hit in hits] == [hit["content"] for hit in answer.json()["results"]]
    assert len([fact for fact in facts if any(fact in hit["content"] for hit in hits)]) == 10
    for hit in hits:
        assert hit["memory_id"] in block["text"]
        assert hit["content"] in block["text"]
    listed = call_over_http(server, era, "list_memories", session_id=f"long {era}")
    assert len(json.dumps(listed, ensure_ascii=False).encode()) <= BOUND


@pytest.mark.parametrize("era", ERAS)
def test_what_is_large_beside_the_arguments_of_a_call_is_refused(server: HttpServer, era: str) -> None:
    large = {"text": "a" * 100_000}
    call = {"name": "get_memory_stats", "arguments": {}, "_meta": large}
    for line in (request(1, "ping", _meta=large), request(1, "tools/call", **call)):
        head = {"content-type": "application/json", "accept": "application/json, text/event-stream", **ERAS[era]}
        answer: httpx.Response = server.client.post("/mcp", content=line, headers=head)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == -32600
        assert "65536" in answer.json()["error"]["message"]
