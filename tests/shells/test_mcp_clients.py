"""The official Python client over real stdio and real HTTP, in both eras of the protocol."""

import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import jsonschema
import mcp_types as types
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.shells.serving import STDIO, HttpServer, environment
from tmws_mcp.readable import readable, readable_error
from tmws_mcp.server import FOR_ALL, INSTRUCTIONS

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"
TOOLS = {
    "create_memory",
    "create_memories",
    "search_memories",
    "get_memory",
    "list_memories",
    "update_memory",
    "delete_memory",
    "share_memory",
    "get_memory_stats",
    "health_check",
    "get_system_stats",
}
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"

TOOL_LIST_TOKENS = 3850
"""Of the 4,000 that the default list may cost."""


@pytest.fixture(scope="module", params=["stdio legacy", "stdio auto", "http legacy", "http auto"])
def way(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
async def client(way: str, server: HttpServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    transport, mode = way.split()
    home = tmp_path_factory.mktemp("home")
    stdio = StdioServerParameters(command=sys.executable, args=STDIO[1:], env=environment(home), cwd=home)
    with (home / "stderr").open("w") as log:
        wire = f"{server.url}/mcp" if transport == "http" else stdio_client(stdio, errlog=log)
        async with Client(wire, mode=mode, read_timeout_seconds=60) as connected:
            yield connected


def content(result: types.CallToolResult) -> dict[str, Any]:
    [block] = result.content
    assert isinstance(block, types.TextContent)
    answer: dict[str, Any] | None = result.structured_content
    assert answer is not None
    assert block.text == (readable_error(answer) if result.is_error else readable(answer))
    return answer


async def test_client_negotiates_its_era_and_learns_who_serves(client: Client, way: str) -> None:
    assert (client.protocol_version == MODERN) == way.endswith("auto")
    assert client.server_info is not None
    assert (client.server_info.name, client.server_info.title) == ("tmws", "TMWS")
    assert client.instructions == (FOR_ALL if way.startswith("http") else INSTRUCTIONS)
    capabilities = client.server_capabilities
    assert capabilities.tools is not None
    assert capabilities.resources is not None
    assert capabilities.prompts is None


async def test_tools_are_listed_within_their_budget(client: Client) -> None:
    listed = await client.list_tools()
    assert {tool.name for tool in listed.tools} == TOOLS
    wire = [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in listed.tools]
    assert len(json.dumps(wire, separators=(",", ":"))) / 4 <= TOOL_LIST_TOKENS


async def test_tools_say_what_they_do_to_the_store(client: Client) -> None:
    hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}

    def having(wanted: Callable[[types.ToolAnnotations], bool | None]) -> set[str]:
        return {name for name, hint in hints.items() if hint is not None and wanted(hint)}

    assert having(lambda hint: not hint.read_only_hint) == {
        "create_memory",
        "create_memories",
        "update_memory",
        "delete_memory",
        "share_memory",
    }
    assert having(lambda hint: hint.destructive_hint) == {"update_memory", "delete_memory", "share_memory"}
    assert having(lambda hint: hint.idempotent_hint) == {"delete_memory"}
    assert having(lambda hint: hint.open_world_hint is False) == TOOLS


async def test_stored_memory_is_found_and_read_and_deleted(client: Client, way: str) -> None:
    schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}

    async def call(name: str, **arguments: object) -> dict[str, Any]:
        result = await client.call_tool(name, arguments)
        assert not result.is_error, result
        answer = content(result)
        schema = schemas[name]
        assert schema is not None
        jsonschema.validate(answer, schema)
        assert answer.keys() - {"success"} <= schema["properties"].keys()
        return answer

    text = f"Over {way}, the harbour master counts the ships at noon."
    memory_id = (await call("create_memory", content=text, tags=["harbour"]))["memory_id"]
    found = await call("search_memories", query="who counts ships?", tags_all=["harbour"], limit=100)
    assert memory_id in [hit["memory_id"] for hit in found["results"]]
    memory = (await call("get_memory", memory_id=memory_id))["memory"]
    assert (memory["content"], memory["agent_id"]) == (text, "default-agent")
    assert memory["transport"] == ("mcp-http" if way.startswith("http") else "stdio")
    later = "2999-01-31T12:00:00Z"
    assert (await call("update_memory", memory_id=memory_id, importance=1, expires_at=later))["version"] == 2
    assert (await call("get_memory", memory_id=memory_id))["memory"]["expires_at"] == later
    assert (await call("update_memory", memory_id=memory_id, expires_at=None, content=None))["version"] == 3
    assert "expires_at" not in (await call("get_memory", memory_id=memory_id))["memory"]
    assert (await call("share_memory", memory_id=memory_id, shared_with=["pilot"]))["access_level"] == "shared"
    assert (await call("get_memory_stats"))["total"] >= 1
    assert memory_id in [each["memory_id"] for each in (await call("list_memories"))["memories"]]
    [none] = (await client.call_tool("list_memories", {"namespace": "nowhere"})).content
    assert isinstance(none, types.TextContent)
    assert none.text == "There are none with these filters: namespace nowhere."
    assert (await call("health_check"))["status"] == "healthy"
    assert (await call("get_system_stats"))["memories"] >= 1
    await call("delete_memory", memory_id=memory_id)
    gone = await client.call_tool("get_memory", {"memory_id": memory_id})
    assert content(gone)["error"]["code"] == "not_found"


async def test_memory_is_a_resource(client: Client, way: str) -> None:
    batch = [{"content": f"Resource {number} over {way}"} for number in range(25)]
    created = content(await client.call_tool("create_memories", {"memories": batch}))
    newest = created["results"][-1]["memory_id"]
    listed = (await client.list_resources()).resources
    assert len(listed) == 20
    assert (listed[0].uri, listed[0].title) == (f"memory://{newest}", f"Resource 24 over {way}")
    [template] = (await client.list_resource_templates()).resource_templates
    assert template.uri_template == "memory://{id}"
    [read] = (await client.read_resource(f"memory://{newest}")).contents
    assert isinstance(read, types.TextResourceContents)
    assert read.mime_type == "application/json"
    assert json.loads(read.text)["content"] == f"Resource 24 over {way}"


@pytest.mark.parametrize("uri", [f"memory://{UNKNOWN_ID}", "memory://nonsense", "file:///etc/passwd"])
async def test_unknown_resource_is_the_error_of_its_era(client: Client, uri: str) -> None:
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    code = types.INVALID_PARAMS if client.protocol_version == MODERN else -32002
    assert (caught.value.code, caught.value.data) == (code, {"uri": uri})


@pytest.mark.parametrize(
    ("name", "arguments", "code", "field"),
    [
        ("serch_memories", {"query": "x"}, "unknown_operation", None),
        ("create_memory", {}, "invalid_argument", "content"),
        ("create_memory", {"content": "x", "colour": "red"}, "invalid_argument", "colour"),
        ("create_memory", {"content": "a\x00b"}, "invalid_argument", "content"),
        ("create_memory", {"content": "x", "importance": "high"}, "invalid_argument", "importance"),
        ("create_memory", {"content": "x" * (64 * 1024 + 1)}, "too_large", "content"),
        ("search_memories", {"query": "x", "limit": "three"}, "invalid_argument", "limit"),
        ("search_memories", {"query": "x", "explain": "perhaps"}, "invalid_argument", "explain"),
        ("get_memory", {"memory_id": UNKNOWN_ID}, "not_found", "memory_id"),
    ],
)
async def test_refused_call_is_a_result_that_says_why(
    client: Client, name: str, arguments: dict[str, Any], code: str, field: str | None
) -> None:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    answer = content(result)
    assert answer["success"] is False
    assert (answer["error"]["code"], answer["error"].get("field")) == (code, field)
    assert answer["error"]["message"]


async def test_who_asks_for_what_there_is_not_is_told_that_there_is_none(client: Client) -> None:
    assert (await client.list_prompts()).prompts == []
    assert client.server_capabilities.prompts is None


async def test_unknown_method_is_an_error_and_the_connection_goes_on(client: Client) -> None:
    with pytest.raises(MCPError) as caught:
        await client.get_prompt("any")
    assert caught.value.code == types.METHOD_NOT_FOUND
    assert not (await client.call_tool("health_check")).is_error
