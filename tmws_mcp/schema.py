"""What MCP clients are told about an operation's input and output, in few bytes.

Clients put the whole tool list into the model's context: the list has a budget of 4,000 tokens. Length limits and
patterns are left out, since the wire converter enforces them and names them in its errors, and the fields of nested
objects are not explained: another tool has them. A type is one word, since functions of Gemini take no list of them;
that null clears a field, the tool's purpose says. The whole description is in `/openapi.json`.
"""

from typing import Any

from tmws_core.operation import Operation
from tmws_core.schema import JsonSchema, schema_of

_LEFT_OUT = frozenset({"pattern", "minLength", "maxLength", "minItems", "maxItems"})

_LARGE = 2**16
"""A bound of this size is a limit of storage, not a hint for whoever chooses a value."""


def input_schema(operation: Operation) -> JsonSchema:
    """Return the terse schema of an operation's arguments."""
    return _terse(schema_of(operation.request), explained=True)


def output_schema(operation: Operation) -> JsonSchema:
    """Return the terse schema of an operation's answer.

    It has the types of its fields alone, without `success`, which all have, and requires nothing: some clients hold
    error results against it too, which look different.
    """
    properties = schema_of(operation.answer)["properties"]
    told = {name: {"type": schema["type"]} for name, schema in properties.items() if name != "success"}
    return {"type": "object", "properties": told}


def _terse(schema: JsonSchema, *, explained: bool) -> JsonSchema:
    kept = {
        key: value for key, value in schema.items() if key not in _LEFT_OUT and not _goes_without_saying(key, value)
    }
    if isinstance(kept.get("type"), list):
        kept["type"], _ = kept["type"]
    if "items" in kept:
        kept["items"] = _terse(kept["items"], explained=False)
    if "properties" in kept:
        kept["properties"] = {name: _field(field, explained=explained) for name, field in kept["properties"].items()}
    return kept


def _field(schema: JsonSchema, *, explained: bool) -> JsonSchema:
    terse = _terse(schema, explained=False)
    return terse if explained else {key: value for key, value in terse.items() if key != "description"}


def _goes_without_saying(key: str, value: Any) -> bool:
    return (
        (key == "maximum" and value >= _LARGE)
        or (key == "default" and value in (False, 0))
        or (key == "minimum" and value in (0, 1))
    )
