"""The OpenAPI 3.1 description of the REST face, read off the operations."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from tmws_adapters.bootstrap import version
from tmws_core.errors import (
    Forbidden,
    InvalidField,
    MalformedRequest,
    Overloaded,
    RateLimited,
    RequestTimedOut,
    RequestTooLarge,
    StorageUnavailable,
    TmwsError,
    TooManyValues,
    Unauthenticated,
)
from tmws_core.messages.system import HealthReport
from tmws_core.operation import Operation
from tmws_core.schema import JsonSchema, schema_of
from tmws_mcp.failure import STATUS

_ALWAYS = (
    InvalidField,
    MalformedRequest,
    RequestTooLarge,
    TooManyValues,
    Unauthenticated,
    Forbidden,
    RateLimited,
    Overloaded,
    RequestTimedOut,
    StorageUnavailable,
)
"""What every operation can answer, whatever it does."""

_ERROR: JsonSchema = {
    "type": "object",
    "properties": {
        "success": {"const": False},
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "stable: safe to branch on"},
                "message": {"type": "string", "description": "what is wrong, and what to do about it"},
                "field": {"type": "string", "description": "the argument at fault, such as tags[3]"},
                "request_id": {"type": "string", "description": "names the request in the log of the server"},
                "facts": {"type": "object", "description": "what the message is made of, for programs"},
            },
            "required": ["code", "message", "request_id"],
        },
    },
    "required": ["success", "error"],
}

_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key or a token; not needed where TMWS_AUTH_ENABLED is false.",
}

_PROBE: JsonSchema = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}


def openapi(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the description as JSON values; every request and answer is a schema of its own."""
    described = list(operations)
    classes = {cls for operation in described for cls in (operation.request, operation.answer)} | {HealthReport}
    schemas = {cls.__name__: schema_of(cls) for cls in sorted(classes, key=lambda cls: cls.__name__)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TMWS",
            "version": version(),
            "description": "Durable, searchable, access-controlled memory for AI agents.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {f"/mcp/tools/{operation.name}": {"post": _post(operation)} for operation in described} | _probes(),
        "security": [{"bearer": []}, {}],
        "components": {"schemas": schemas | {"Error": _ERROR}, "securitySchemes": {"bearer": _BEARER}},
    }


def _post(operation: Operation) -> dict[str, Any]:
    body: dict[str, Any] = {"content": _json({"$ref": f"#/components/schemas/{operation.request.__name__}"})}
    if "required" in schema_of(operation.request):
        body["required"] = True
    return {
        "operationId": operation.name,
        "tags": [operation.toolset],
        "summary": operation.summary,
        "description": operation.description,
        "requestBody": body,
        "responses": {
            "200": _response("Done.", {"$ref": f"#/components/schemas/{operation.answer.__name__}"}),
            **_errors(operation.raises),
        },
    }


def _errors(raises: tuple[type[TmwsError], ...]) -> dict[str, Any]:
    codes = {STATUS[TmwsError.kind]: {TmwsError.code}}
    for error in _with_subclasses((*_ALWAYS, *raises)):
        codes.setdefault(STATUS[error.kind], set()).add(error.code)
    return {str(status.value): _refusal(status, sorted(codes[status])) for status in sorted(codes)}


def _with_subclasses(errors: Iterable[type[TmwsError]]) -> Iterator[type[TmwsError]]:
    for error in errors:
        yield error
        yield from _with_subclasses(error.__subclasses__())


def _refusal(status: HTTPStatus, codes: list[str]) -> dict[str, Any]:
    narrowed = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
    return _response(f"{status.phrase}: {', '.join(codes)}.", {"$ref": "#/components/schemas/Error", **narrowed})


def _probes() -> dict[str, Any]:
    # Strangers learn nothing of the parts.
    required = [name for name in schema_of(HealthReport)["required"] if name != "components"]
    health = schema_of(HealthReport) | {"required": required}
    return {
        "/health": {"get": _probe("health", "How the service and its parts are.", health)},
        "/health/live": {"get": _probe("health_live", "Whether the process answers.", _PROBE)},
        "/health/ready": {"get": _probe("health_ready", "Whether it can serve requests.", _PROBE)},
    }


def _probe(name: str, summary: str, schema: JsonSchema) -> dict[str, Any]:
    responses = {"200": _response("Yes.", schema), "503": _response("Not now.", schema)}
    return {"operationId": name, "tags": ["probes"], "summary": summary, "responses": responses}


def _response(description: str, schema: JsonSchema) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _json(schema: JsonSchema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
