"""`/openapi.json` describes what the server does."""

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.shells.serving import HttpServer


@pytest.fixture(scope="module")
def description(server: HttpServer) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get("/openapi.json").json()
    return found


def test_description_is_valid_openapi(description: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(description).validate()


def test_every_described_operation_exists(server: HttpServer, description: dict[str, Any]) -> None:
    paths = [path for path in description["paths"] if path.startswith("/mcp/tools/")]
    assert len(paths) >= 11
    for path in paths:
        refused = server.client.post(path, json={"no_such_argument": 1})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_argument")


def test_codes_of_an_operation_are_listed_by_status(description: dict[str, Any]) -> None:
    responses = description["paths"]["/mcp/tools/update_memory"]["post"]["responses"]

    def codes(status: str) -> list[str]:
        schema = responses[status]["content"]["application/json"]["schema"]
        found: list[str] = schema["properties"]["error"]["properties"]["code"]["enum"]
        return found

    assert codes("404") == ["not_found"]
    assert codes("409") == ["conflict"]
    assert codes("413") == ["request_too_large", "too_large", "too_many_values"]
    assert {"timeout", "storage_busy", "storage_full"} <= set(codes("503"))


def test_answers_are_as_described(server: HttpServer, description: dict[str, Any]) -> None:
    def check(name: str, **arguments: object) -> dict[str, Any]:
        operation = description["paths"][f"/mcp/tools/{name}"]["post"]
        answer: dict[str, Any] = server.call(name, **arguments).json()
        components = {"components": description["components"]}
        for value, place in ((arguments, operation["requestBody"]), (answer, operation["responses"]["200"])):
            jsonschema.validate(value, place["content"]["application/json"]["schema"] | components)
        return answer

    memory_id = check(
        "create_memory",
        content="Described.",
        agent_id="describer",
        tags=["a"],
        metadata={"k": [1, None]},
        occurred_at="2026-01-31T12:00:00Z",
        sequence=3,
    )["memory_id"]
    check("create_memories", memories=[{"content": "One."}, {"content": "Two."}])
    check("update_memory", memory_id=memory_id, content="Described again.", occurred_at=None, sequence=None)
    assert not {"occurred_at", "sequence"} & check("get_memory", memory_id=memory_id)["memory"].keys()
    check("share_memory", memory_id=memory_id, shared_with=["reader"])
    check("get_memory", memory_id=memory_id, include_history=True)
    check("search_memories", query="described", agent_id="describer", explain=True)
    check("list_memories", limit=1)
    check("get_memory_stats")
    check("health_check")
    check("get_system_stats")
    check("delete_memory", memory_id=memory_id)
