# ruff: noqa: INP001 - a script beside the pages that it writes
"""Writes the reference pages and .env.example from the code: `python docs/reference/generate.py [--check]`.

With --check it writes nothing and ends with 1 when a file is not what the code says.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import click
from operations import operations_page

from tmws_adapters.settings import RESERVED, Settings, known_names, name_of
from tmws_cli import by_hand
from tmws_cli.descriptions import FILE
from tmws_cli.failures import EXIT_CODES
from tmws_core.app import SERVICES
from tmws_core.domain.nearest import ALIASES
from tmws_core.errors import TmwsError
from tmws_core.operation import Operation, operations_described_by
from tmws_core.schema import schema_of
from tmws_mcp.bodies import BODY_BYTES
from tmws_mcp.failure import STATUS
from tmws_mcp.openapi import openapi

REFERENCE = Path(__file__).parent
REPOSITORY = REFERENCE.parents[1]
NOTICE = "<!-- Written by docs/reference/generate.py; do not edit. -->"
WIDTH = 100
"""Columns of the help texts in commands.md."""


def main() -> int:
    """Write all files, or compare them; return the exit code."""
    stale = []
    for path, text in files():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(REPOSITORY)))
    for name in stale:
        sys.stderr.write(f"{name} is not what the code says: run python docs/reference/generate.py\n")
    return 1 if stale else 0


def files() -> Iterator[tuple[Path, str]]:
    """Yield every generated file by its path with its text, what others are made from first."""
    yield Path(FILE), json.dumps(descriptions(), ensure_ascii=False, indent=1) + "\n"
    pages = {
        "operations.md": operations_page(NOTICE, operations().values()),
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "http.md": http_page(),
    }
    for name, lines in pages.items():
        yield REFERENCE / name, "\n".join(lines).rstrip() + "\n"
    yield REPOSITORY / ".env.example", "\n".join(example()).rstrip() + "\n"


def descriptions() -> dict[str, Any]:
    """Return what the command line reads instead of importing the operations; see `tmws_cli.descriptions`."""
    described = [
        {
            "name": each.name,
            "group": each.group,
            "command": each.command,
            "description": _as_typed(each.description),
            "effect": each.effect.value,
            "schema": schema_of(each.request, depth=1),
        }
        for each in operations().values()
    ]
    return {"operations": described, "helps": dict(helps()), "aliases": dict(ALIASES)}


def _as_typed(text: str) -> str:
    """Return a text with commands for the operations that it names, and an option for the argument."""
    for each in operations().values():
        text = re.sub(rf"\b{each.name}\b", f"`tmws {each.group} {each.command}`", text)
    return text.replace("`next_offset` as `offset`", "the `--offset` that is told")


def helps() -> Iterator[tuple[str, str]]:
    """Yield the words and the help text of every command that stands for no operation."""
    yield from ((name, by_hand.made(where).help or "") for name, where in by_hand.COMMANDS.items())
    for group, commands in by_hand.IN_GROUPS.items():
        yield from ((f"{group} {name}", by_hand.made(where).help or "") for name, where in commands.items())


def operations() -> dict[str, Operation]:
    """Return all operations by name, those of a toolset together."""
    found = operations_described_by(SERVICES)
    return dict(sorted(found.items(), key=lambda item: (item[1].toolset, item[0])))


def settings_page() -> Iterator[str]:
    """Yield settings.md."""
    yield from ("# Settings", "", NOTICE, "")
    yield "Read once, at the start: defaults, then the file `.env` in `TMWS_HOME`, then the file that `TMWS_ENV_FILE`"
    yield "or `--env-file` names, then the environment, then options of the command; the later ones win. An unknown"
    yield "variable that begins with `TMWS_` is refused. A `.env` in the working directory is ignored, and nothing like"
    yield "`${NAME}` is expanded: a path or a URL that holds it is refused. `TMWS_HOME` and `TMWS_ENV_FILE`"
    yield from (
        "lead to these files: only the environment, and for `TMWS_HOME` a file that is named, can set them.",
        "",
    )
    yield "The file in `TMWS_HOME` has to be UTF-8 text, must belong to the user or to root, and must not be writable"
    yield from ("by every user; otherwise nothing starts. A file that is named may belong to anybody.", "")
    yield from ("Any variable can be read from a file: `TMWS_AGENT_ID_FILE=/run/secrets/agent` names it.", "")
    yield from ("| variable | values | default | meaning |", "|---|---|---|---|")
    for name, hint, default, meaning in settings():
        yield f"| `{name}` | {_values(hint)} | {f'`{default}`' if default else ''} | {meaning} |"
    yield from ("", "## Accepted, without effect in this version", "")
    yield "These belong to deployments that this version does not have. Setting one is reported in the log and by"
    yield from ("`tmws doctor`.", "", "| variable | why |", "|---|---|")
    yield from (f"| `{name}` | {reason} |" for name, reason in RESERVED.items())


def settings() -> Iterator[tuple[str, Any, str, str]]:
    """Yield variable, type, default as it would be written, and meaning of every setting."""
    hints = get_type_hints(Settings)
    fields = [field for field in attrs.fields(Settings) if name_of(field.name) in known_names()]
    for field in fields:
        default = "~/.tmws" if field.name == "home" else field.default
        yield name_of(field.name), hints[field.name], _written(default), field.metadata["doc"]


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(value)
        case _:
            return str(value)


def _values(hint: Any) -> str:
    arguments = [argument for argument in get_args(hint) if argument not in (type(None), ...)]
    if arguments and isinstance(arguments[0], str):
        return ", ".join(f"`{choice}`" for choice in arguments)
    kind = arguments[0] if arguments else hint
    names = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", Path: "path"}
    return f"list of {names[kind]}" if get_origin(hint) is tuple else names[kind]


def example() -> Iterator[str]:
    """Yield .env.example."""
    yield "# All settings with their defaults; docs/reference/settings.md explains them. Copy to .env in TMWS_HOME."
    for name, _, default, meaning in settings():
        yield from ("", f"# {meaning}", f"#{name}={default}")


def commands_page() -> Iterator[str]:
    """Yield commands.md."""
    yield from ("# Commands", "", NOTICE, "")
    yield "Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 refused, 5 a part is unavailable,"
    yield "130 interrupted."
    yield from ("`tmws-mcp-server` is another name for `tmws serve`.", "")
    from tmws_cli.commands import root  # noqa: PLC0415 - it reads a file that is written first

    known = {**root.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    yield from _command(root, click.Context(root, info_name="tmws", **known))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from (f"## {context.command_path}", "", "```text", command.get_help(context), "```", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _command(below, click.Context(below, info_name=name, parent=context))


def errors_page() -> Iterator[str]:
    """Yield errors.md."""
    yield from ("# Errors", "", NOTICE, "")
    yield "An error has a stable `code`, a `message` for people, and a `field` where one argument is at fault:"
    yield from ("", "```json")
    yield '{"success": false, "error": {"code": "invalid_argument", "message": "limit: …", "field": "limit"}}'
    yield from ("```", "", "Over HTTP a `request_id` comes with it, which the log of the server has, too.", "")
    yield from ("| code | meaning | class | HTTP | exit code |", "|---|---|---|---|---|")
    for cls in sorted(errors(), key=lambda cls: (STATUS[cls.kind], cls.code)):
        meaning = (inspect.getdoc(cls) or "").splitlines()[0] if cls is not TmwsError else "A defect; the log has it."
        yield f"| `{cls.code}` | {meaning} | `{cls.__name__}` | {STATUS[cls.kind].value} | {EXIT_CODES[cls.kind]} |"


def errors(cls: type[TmwsError] = TmwsError) -> Iterator[type[TmwsError]]:
    """Yield an error class and all that derive from it."""
    yield cls
    for below in cls.__subclasses__():
        yield from errors(below)


def http_page() -> Iterator[str]:
    """Yield http.md."""
    yield from ("# HTTP", "", NOTICE, "")
    yield "[Run the server](../how-to/run-the-server.md) shows how to start it and how to call it. Bodies are JSON in"
    yield f"UTF-8, of at most {BODY_BYTES} bytes. Every answer has the header `X-Request-Id`. [Errors](errors.md) are"
    yield "JSON, too: an unknown route is `unknown_route`, a wrong method `method_not_allowed`; both name what is."
    yield from ("", "| route | what it does | statuses |", "|---|---|---|")
    yield "| `/mcp` | MCP over streamable HTTP, for clients with and without a session. | as MCP says |"
    yield "| `GET /openapi.json` | The description of what follows, in OpenAPI 3.1. | 200 |"
    for path, methods in openapi(operations().values())["paths"].items():
        for method, described in methods.items():
            statuses = ", ".join(sorted(described["responses"]))
            yield f"| `{method.upper()} {path}` | {described['summary']} | {statuses} |"


if __name__ == "__main__":
    sys.exit(main())
