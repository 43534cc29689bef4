"""What MCP clients are told about an operation's input and output, in few bytes.

Clients put the whole tool list into the model's context: the list has a budget of 4,000 tokens. Length limits and
patterns are left out, since the wire converter enforces them and names them in its errors, and nested objects are
written without their properties. The whole description is in `/openapi.json`.
"""

from typing import Any

from tmws_core.operation import Operation
from tmws_core.schema import JsonSchema, schema_of

_LEFT_OUT = frozenset({"pattern", "minLength", "maxLength", "minItems", "maxItems"})

_LARGE = 2**31
"""A bound of this size is a limit of storage, not a hint for whoever chooses a value."""


def input_schema(operation: Operation) -> JsonSchema:
    """Return the terse schema of an operation's arguments; of nested objects it names the required properties."""
    return _object(schema_of(operation.request))


def output_schema(operation: Operation) -> JsonSchema:
    """Return the terse schema of an operation's answer.

    It has the types of its fields alone, and requires nothing: some clients hold error results against it too, which
    look different.
    """
    properties = schema_of(operation.answer)["properties"]
    return {"type": "object", "properties": {name: {"type": schema["type"]} for name, schema in properties.items()}}


def _object(schema: JsonSchema) -> JsonSchema:
    properties = {name: _terse(described) for name, described in schema["properties"].items()}
    return {**schema, "properties": properties}


def _terse(schema: JsonSchema) -> JsonSchema:
    if schema["type"] == "object":
        return {key: schema[key] for key in ("type", "required") if key in schema}
    kept = {
        key: value for key, value in schema.items() if key not in _LEFT_OUT and not _goes_without_saying(key, value)
    }
    return kept | {"items": _terse(kept["items"])} if "items" in kept else kept


def _goes_without_saying(key: str, value: Any) -> bool:
    return (
        (key == "maximum" and value >= _LARGE)
        or (key == "default" and value is False)
        or (key == "minimum" and value in (0, 1))
    )
