"""JSON Schema of requests and answers, read off the attrs classes that the wire converter builds."""

import builtins
import enum
from datetime import datetime
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from tmws_core.domain.constraints import Aware, Items, JsonObject, Range, Text
from tmws_core.domain.unset import UNSET, Unset
from tmws_core.meanings import meaning_of
from tmws_core.wire import unstructure

JsonSchema = dict[str, Any]

_PLAIN: dict[object, JsonSchema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
}


def schema_of(cls: type, *, depth: int = 16) -> JsonSchema:
    """Return the JSON Schema (2020-12) of an attrs class.

    Objects nested deeper than `depth` levels are written as plain objects: MCP clients pay for every byte of a tool
    list, and the whole description is in `/openapi.json`.
    """
    hints = get_type_hints(cls)
    properties = {}
    required = []
    for field in attrs.fields(cls):
        schema = _of_type(hints[field.name], depth)
        if (meaning := meaning_of(cls, field.name)) is not None:
            schema["description"] = meaning
        _constrain(schema, field)
        if field.default is attrs.NOTHING:
            if not _is_optional(hints[field.name]):
                required.append(field.name)
        elif _default(field) not in (None, [], {}):
            schema["default"] = _default(field)
        properties[field.name] = schema
    described: JsonSchema = {"type": "object", "properties": properties}
    if required:
        described["required"] = required
    return described | {"additionalProperties": False}


def _default(field: "attrs.Attribute[Any]") -> Any:
    """Return what counts where nothing is said; `unsaid` names it where saying it makes a difference."""
    if "unsaid" in field.metadata:
        return unstructure(field.metadata["unsaid"])
    if field.default is UNSET or isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # the stubs make a function of the class
        return None
    return unstructure(field.default)


def _of_type(hint: Any, depth: int) -> JsonSchema:
    arguments = get_args(hint)
    match get_origin(hint):
        case None:
            return _of_class(hint, depth)
        case builtins.tuple:
            return {"type": "array", "items": _of_type(arguments[0], depth - 1)}
        case builtins.dict if arguments[1] is Any or depth <= 0:
            return {"type": "object"}
        case builtins.dict:
            return {"type": "object", "additionalProperties": _of_type(arguments[1], depth - 1)}
        case _ if Unset in arguments:
            schema = _of_type(arguments[0], depth)
            return schema | {"type": [schema["type"], "null"]}
        case _:
            return _of_type(next(argument for argument in arguments if argument is not type(None)), depth)


def _of_class(cls: Any, depth: int) -> JsonSchema:
    if cls in _PLAIN:
        return dict(_PLAIN[cls])
    if issubclass(cls, enum.Enum):
        return {"type": "string", "enum": [member.value for member in cls]}
    return {"type": "object"} if depth <= 0 else schema_of(cls, depth=depth - 1)


def _is_optional(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _constrain(schema: JsonSchema, field: "attrs.Attribute[Any]") -> None:
    schema.update(_limits(field.validator))
    if isinstance(field.validator, Items) and field.validator.each is not None:
        schema["items"].update(_limits(field.validator.each))


def _limits(constraint: object) -> JsonSchema:
    limits: JsonSchema = {}
    match constraint:
        case Text(minimum=minimum, maximum=maximum, maximum_bytes=maximum_bytes, pattern=pattern):
            limits = {
                "minLength": minimum or None,
                "maxLength": maximum or maximum_bytes,
                "pattern": _anchored(pattern),
            }
        case Range(minimum=low, maximum=high):
            limits = {"minimum": low, "maximum": high}
        case Items(minimum=fewest, maximum=most):
            limits = {"minItems": fewest or None, "maxItems": most}
        case JsonObject() | Aware():
            pass
    return {key: value for key, value in limits.items() if value is not None}


def _anchored(pattern: str | None) -> str | None:
    return None if pattern is None else f"^{pattern.removeprefix('^').removesuffix('$')}$"
