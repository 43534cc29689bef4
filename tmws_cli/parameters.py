"""Between the words of a command line and the JSON values of a request, as the request's schema describes them."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from tmws_cli.descriptions import others
from tmws_cli.options import only
from tmws_cli.times import EXAMPLES, is_time, written_time
from tmws_cli.typed import Option
from tmws_core.domain.words import words_in

JsonSchema = dict[str, Any]

CLEAR = "clear"
"""The option that names the fields which are to be empty; no field has this name."""

_TYPES = {"integer": click.INT, "number": click.FLOAT}

_NAMES = ("agent_id", "namespace", "session_id")
"""The fields of which several might be meant to be taken together, and are not."""

_SHORT = {"limit": "-n"}
"""The options that have a short name."""


def parameters_of(schema: JsonSchema) -> list[click.Parameter]:
    """Return the parameters of a command: required fields by position, the others as options.

    Fields that null clears are cleared by the option CLEAR.
    """
    required = schema.get("required", [])
    properties = _without_null(schema)
    alone = len(required) == 1
    parameters: list[click.Parameter] = [_argument(name, properties[name], alone=alone) for name in required]
    parameters += [
        _option(name, field, _others_of(name, properties)) for name, field in properties.items() if name not in required
    ]
    clearable = [name for name, field in schema["properties"].items() if field != properties[name]]
    return [*parameters, _clear_option(clearable)] if clearable else parameters


def request_of(schema: JsonSchema, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object of a request; what was not given is left out.

    Raises:
        click.UsageError: a field is given and cleared.
        TmwsError: see `tmws_cli.piped`; or what should be a time or UTF-8 is none.
        OSError: a file cannot be read.
    """
    properties = _without_null(schema)
    given = {name: value for name, value in values.items() if name != CLEAR and value not in (None, ())}
    cleared = values.get(CLEAR) or ()
    for name in cleared:
        if name in given:
            raise click.UsageError(f"{name} is given and cleared: do one of both.")
    return {name: _json_value(name, properties[name], value) for name, value in given.items()} | dict.fromkeys(cleared)


def listed(texts: Iterable[str], name: str = "tags") -> list[str]:
    """Return the items of a list whose option was given so often; commas stand between items, too.

    Raises:
        InvalidField: one of them begins as a list does, and is none, or is no UTF-8.
    """
    found = [words_in(_in_utf8(name, text)) for text in texts]
    if None in found:
        raise _invalid(name, "begins as a list does, and is none", 'Give a,b or ["a", "b"]')
    return [word for words in found for word in words or ()]


def _without_null(schema: JsonSchema) -> dict[str, JsonSchema]:
    """Return the fields of a schema, each with the one type that its values have."""
    return {
        name: field | {"type": field["type"][0]} if isinstance(field["type"], list) else field
        for name, field in schema["properties"].items()
    }


def _clear_option(names: list[str]) -> click.Option:
    return click.Option(
        [f"--{CLEAR}"], multiple=True, type=click.Choice(names), help="leave this field empty. May be repeated."
    )


def _argument(name: str, field: JsonSchema, *, alone: bool) -> click.Argument:
    if _holds_objects(field):
        return click.Argument([name], metavar="FILE")
    # A text may be typed without quotes: several words are one text.
    is_text = alone and field["type"] == "string" and "pattern" not in field
    several = is_text or field["type"] == "array"
    words = f"{name.upper()}..." if several else name.upper()
    # Without words, the one text of a command is on stdin.
    return click.Argument([name], metavar=words, nargs=-1 if several else 1, required=not is_text)


def _others_of(name: str, properties: Mapping[str, JsonSchema]) -> tuple[str, ...]:
    """Return the options by which other programs would name a field."""
    meant = {
        other: next((field for field in fields if field in properties), "")
        for other, fields in others().items()
        if other not in properties
    }
    return tuple(
        f"{'--' if len(other) > 1 else '-'}{other.replace('_', '-')}" for other, field in meant.items() if field == name
    )


def _option(name: str, field: JsonSchema, known_as: tuple[str, ...]) -> click.Option:
    words = [f"--{name.replace('_', '-')}", *([_SHORT[name]] if name in _SHORT else []), name]
    other = tuple(each for each in known_as if each not in words)
    help_text = _help(field)
    match field:
        case {"type": "boolean", "default": True}:
            return Option([f"{words[0]}/--no-{words[0][2:]}", name], others=other, default=None, help=help_text)
        case {"type": "boolean"}:
            return Option(words, others=other, is_flag=True, default=None, help=help_text)
        case {"type": "array"}:
            return Option(words, others=other, multiple=True, metavar="TEXT", help=f"{help_text}; several as a,b")
        case {"enum": choices}:
            return Option(words, others=other, type=click.Choice(choices), help=help_text)
        case _ if name in _NAMES:
            return Option(words, others=other, multiple=True, callback=only, metavar=_metavar(field), help=help_text)
        case _:
            return Option(words, others=other, type=_TYPES.get(field["type"]), metavar=_metavar(field), help=help_text)


def _metavar(field: JsonSchema) -> str:
    names = {"integer": "N", "number": "NUMBER", "object": "JSON"}
    return "TIME" if field.get("format") == "date-time" else names.get(field["type"], "TEXT")


def _help(field: JsonSchema) -> str:
    facts = [
        field.get("description", "")
        .rstrip(".")
        .replace("`next_cursor` of", "What is told at the end of")
        .replace("`", ""),
        _range(field),
    ]
    if field.get("default") not in (None, False):
        facts.append(f"default {field['default']}")
    return "; ".join(fact for fact in facts if fact)


def _range(field: JsonSchema) -> str:
    match field:
        case {"minimum": low, "maximum": high}:
            return f"{low} to {high}"
        case {"minimum": low}:
            return f"at least {low}"
        case {"format": "date-time"}:
            return "such as 30d, tomorrow, 14:30 or 2026-12-31"
        case _:
            return ""


def _json_value(name: str, field: JsonSchema, value: Any) -> Any:
    match field["type"]:
        case "array" if not _holds_objects(field):
            return listed(value, name)
        case "array" | "object":
            return _value_in(name, field, value)
        case "string" if isinstance(value, tuple):
            return _json_value(name, field, " ".join(value))
        case "string" if value == "-":
            return _value_in(name, field, value)
        case "string" if field.get("format") == "date-time":
            return _time(name, value)
        case _:
            return _in_utf8(name, value) if isinstance(value, str) else value


def _in_utf8(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # Python escapes the bytes of an argument that are none
        raise _invalid(name, "is no UTF-8 on the command line", "Convert it to UTF-8") from None
    return text


def _time(name: str, value: str) -> str:
    written = written_time(name, value)
    if not is_time(written):
        raise _invalid(name, f"{value[:40]!r} is not a time", f"Give one such as {EXAMPLES}")
    return written


def _invalid(name: str, reason: str, hint: str) -> Exception:
    from tmws_core.errors import InvalidField  # noqa: PLC0415 - only a mistake needs it

    return InvalidField(name=name, reason=reason, hint=hint)


def _value_in(name: str, field: JsonSchema, value: str) -> Any:
    from tmws_cli.piped import json_value, objects, piped_text  # noqa: PLC0415 - it takes as long as all the rest

    match field["type"]:
        case "array":
            return objects(name, value)
        case "object":
            return json_value(name, value.encode("utf-8", "surrogateescape"))
        case _:
            return piped_text(name)


def _holds_objects(field: JsonSchema) -> bool:
    return field["type"] == "array" and bool(field["items"]["type"] == "object")
