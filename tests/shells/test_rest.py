"""REST: one operation a request; bad input is refused, named, and does no harm."""

import json
import secrets
from typing import Any

import httpx
import pytest

from tests.shells.serving import HttpServer
from tests.stacks import SOURCE

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


def error(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert body["success"] is False
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    found: dict[str, Any] = body["error"]
    return found


def refusal(response: httpx.Response) -> tuple[int, str, str | None]:
    found = error(response)
    return response.status_code, found["code"], found.get("field")


def agent() -> str:
    return f"agent-{secrets.token_hex(6)}"


def stored(server: HttpServer, **arguments: object) -> str:
    answer = server.call("create_memory", **{"content": f"text of {agent()}", **arguments})
    assert answer.status_code == 200, answer.text
    memory_id: str = answer.json()["memory_id"]
    return memory_id


def test_seed_request_stores_a_memory(server: HttpServer) -> None:
    answer = server.call(
        "create_memory",
        agent_id="test-agent",
        content="Hello, this is a test memory.",
        memory_type="episodic",
        importance=0.8,
        access_level="private",
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"success", "memory_id", "stored", "embedding_generated", "embedding_latency_ms"}
    assert (body["success"], body["stored"], body["embedding_generated"]) == (True, True, True)
    assert body["embedding_latency_ms"] >= 0
    assert server.call("get_memory", memory_id=body["memory_id"]).json()["memory"]["transport"] == "rest"


def test_body_without_a_content_type_is_read(server: HttpServer) -> None:
    answer = server.client.post("/mcp/tools/get_memory_stats", content=b'{"agent_id": "test-agent"}')
    assert answer.status_code == 200


def test_body_may_begin_with_a_byte_order_mark(server: HttpServer) -> None:
    answer = server.client.post("/mcp/tools/get_memory_stats", content=b'\xef\xbb\xbf{"agent_id": "test-agent"}')
    assert answer.status_code == 200


def test_empty_body_is_no_arguments(server: HttpServer) -> None:
    assert server.client.post("/mcp/tools/get_memory_stats").json()["success"] is True
    assert refusal(server.client.post("/mcp/tools/search_memories")) == (400, "invalid_argument", "query")


def test_stored_memory_is_found_at_once(server: HttpServer) -> None:
    name = agent()
    memory_id = stored(server, agent_id=name, content="The lighthouse keeper counts ships at dusk.")
    found = server.call("search_memories", query="who counts the ships?", agent_id=name).json()
    assert [hit["memory_id"] for hit in found["results"]] == [memory_id]
    assert found["search_source"] == SOURCE


BAD_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("create_memory", {}, "content"),
    ("create_memory", {"content": "x", "colour": "red"}, "colour"),
    ("create_memory", {"content": 3.5}, "content"),
    ("create_memory", {"content": None}, "content"),
    ("create_memory", {"content": ""}, "content"),
    ("create_memory", {"content": " \n"}, "content"),
    ("create_memory", {"content": "a\x00b"}, "content"),
    ("create_memory", {"content": "x", "importance": 1.5}, "importance"),
    ("create_memory", {"content": "x", "importance": "high"}, "importance"),
    ("create_memory", {"content": "x", "importance": True}, "importance"),
    ("create_memory", {"content": "x", "memory_type": "dream"}, "memory_type"),
    ("create_memory", {"content": "x", "tags": {"one": 1}}, "tags"),
    ("create_memory", {"content": "x", "tags": ["ok", 3.5]}, "tags[1]"),
    ("create_memory", {"content": "x", "tags": ["t"] * 33}, "tags"),
    ("create_memory", {"content": "x", "sequence": 1.5}, "sequence"),
    ("create_memory", {"content": "x", "occurred_at": "last spring"}, "occurred_at"),
    ("create_memory", {"content": "x", "occurred_at": "2026-01-32"}, "occurred_at"),
    ("create_memory", {"content": "x", "metadata": []}, "metadata"),
    ("create_memory", {"content": "x", "metadata": {"n": 10**30}}, "metadata"),
    ("create_memory", {"content": "x", "agent_id": "no spaces please"}, "agent_id"),
    ("create_memories", {"memories": []}, "memories"),
    ("create_memories", {"memories": [{"content": "x"}, {"content": ""}]}, "memories[1].content"),
    ("create_memories", {"memories": [{"content": "x"}] * 1001}, "memories"),
    ("search_memories", {"query": "x", "limit": "three"}, "limit"),
    ("search_memories", {"query": "x", "limit": 0}, "limit"),
    ("search_memories", {"query": "x", "limit": 101}, "limit"),
    ("search_memories", {"query": "x", "explain": "perhaps"}, "explain"),
    ("search_memories", {"query": "x", "cursor": "forged"}, "cursor"),
    ("get_memory", {"memory_id": "42"}, "memory_id"),
]


@pytest.mark.parametrize(("operation", "arguments", "field"), BAD_ARGUMENTS)
def test_bad_argument_is_refused_by_its_name(
    server: HttpServer, operation: str, arguments: dict[str, Any], field: str
) -> None:
    assert refusal(server.call(operation, **arguments)) == (400, "invalid_argument", field)


def test_text_of_64_kib_is_stored_and_one_byte_more_is_not(server: HttpServer) -> None:
    name = agent()
    stored(server, agent_id=name, content="é" * (32 * 1024))
    answer = server.call("create_memory", agent_id=name, content="é" * (32 * 1024) + "x")
    assert refusal(answer) == (413, "too_large", "content")
    assert server.call("get_memory_stats", agent_id=name).json()["total"] == 1


def nested(levels: int) -> bytes:
    return b'{"content": "x", "metadata": ' + b'{"a": ' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"content": "x", "importance": NaN}',
        b'{"content": "x", "importance": Infinity}',
        b'{"content": "\\ud800"}',
        b'{"content": "\xff\xfe"}',
        nested(10_000),
        b"[" * 10_000 + b"]" * 10_000,
        b"\t",
    ],
    ids=["cut", "array", "string", "null", "nan", "infinity", "surrogate", "latin-1", "deep", "deep-array", "tab"],
)
def test_body_that_is_no_json_object_is_refused(server: HttpServer, body: bytes) -> None:
    answer = server.client.post("/mcp/tools/create_memory", content=body)
    assert refusal(answer) == (400, "malformed_request", None)


def test_metadata_that_is_nested_too_deeply_is_refused(server: HttpServer) -> None:
    answer = server.client.post("/mcp/tools/create_memory", content=nested(100))
    assert refusal(answer) == (400, "invalid_argument", "metadata")


def test_unknown_operation_is_not_found_and_the_nearest_is_named(server: HttpServer) -> None:
    answer = server.call("serch_memories", query="x")
    assert refusal(answer) == (404, "unknown_operation", None)
    assert "Did you mean search_memories?" in error(answer)["message"]


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("get_memory", {}),
        ("update_memory", {"content": "new"}),
        ("delete_memory", {}),
        ("share_memory", {"shared_with": ["x"]}),
    ],
)
def test_unknown_id_and_a_private_memory_of_another_agent_are_the_same(
    server: HttpServer, operation: str, arguments: dict[str, Any]
) -> None:
    secret = stored(server, agent_id=agent())
    answers = [
        server.call(operation, memory_id=memory_id, agent_id=agent(), **arguments) for memory_id in (UNKNOWN_ID, secret)
    ]
    assert [refusal(answer) for answer in answers] == [(404, "not_found", "memory_id")] * 2
    assert error(answers[0])["message"].replace(UNKNOWN_ID, secret) == error(answers[1])["message"]
    assert server.call("get_memory", memory_id=secret).json()["memory"]["version"] == 1


def test_stale_version_is_a_conflict(server: HttpServer) -> None:
    memory_id = stored(server)
    first = server.call("update_memory", memory_id=memory_id, expected_version=1, importance=0.9)
    assert first.json()["version"] == 2
    second = server.call("update_memory", memory_id=memory_id, expected_version=1, importance=0.1)
    assert refusal(second) == (409, "conflict", "expected_version")


def test_batch_with_one_bad_memory_stores_none(server: HttpServer) -> None:
    name = agent()
    batch = [{"content": f"text {number}", "agent_id": name} for number in range(5)]
    assert server.call("create_memories", memories=[*batch, {"content": ""}]).status_code == 400
    assert server.call("get_memory_stats", agent_id=name).json()["total"] == 0
    assert len(server.call("create_memories", memories=batch).json()["results"]) == 5


def test_server_goes_on_after_a_flood_of_bad_requests(server: HttpServer) -> None:
    for number in range(50):
        body = json.dumps({"content": "x" * number, "bad": number})[: 5 + number].encode()
        assert server.client.post("/mcp/tools/create_memory", content=body).status_code == 400
    assert server.client.get("/health").json()["status"] == "healthy"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"content": "one", "content": "two"}', "content"),
        (b'{"content": "at 10:30", "metadata": {"k": 1, "\\u006b" : 2}}', "k"),
    ],
)
def test_key_that_is_there_twice_is_refused_by_its_name(server: HttpServer, body: bytes, field: str) -> None:
    answer = server.client.post("/mcp/tools/create_memory", content=body)
    assert refusal(answer) == (400, "invalid_argument", field)
    assert "Give each key once" in error(answer)["message"]
