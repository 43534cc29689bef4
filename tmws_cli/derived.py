"""Commands that derive from the operations, with what makes them worth typing."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from tmws_cli.calling import call
from tmws_cli.descriptions import Described
from tmws_cli.exits import FAILURE
from tmws_cli.options import Invocation, invocation_of, with_common_options
from tmws_cli.output import clipped, show
from tmws_cli.parameters import listed, parameters_of, request_of
from tmws_cli.picking import LAST, memory_id_of

_QUOTED_COLUMNS = 60
"""Columns of a text in a question."""


def command_of(operation: Described, name: str | None = None) -> click.Command:
    """Return the command of an operation, by another name if one is given."""

    @click.pass_context
    def run(context: click.Context, /, **values: Any) -> None:
        _run(context, operation, values)

    extra = _EXTRA.get(operation.name, _ASKED if operation.effect == "delete" else ())
    return with_common_options(
        click.Command(
            name or operation.command,
            params=[*parameters_of(operation.schema), *(click.Option(words, **about) for words, about in extra)],
            callback=run,
            help=operation.description,
        )
    )


_ASKED: tuple[tuple[list[str], dict[str, Any]], ...] = (
    (["--yes", "-y"], {"is_flag": True, "help": "Do not ask, as is done on a terminal."}),
)
_EXTRA = {
    "update_memory": tuple(
        ([f"--{word}-tag"], {"multiple": True, "metavar": "TAG", "help": f"{text}; several as a,b"})
        for word, text in (("add", "Add a tag to those that it has"), ("remove", "Take a tag away"))
    )
}
"""The options of commands that their operations do not have."""


def _run(context: click.Context, operation: Described, values: dict[str, Any]) -> None:
    invocation = invocation_of(context)
    added, removed = (listed(values.pop(name, ())) for name in ("add_tag", "remove_tag"))
    unasked = values.pop("yes", False)
    arguments = request_of(operation.schema, values)
    picked = arguments.get("memory_id")
    # An operation that takes the beginning of an id finds the memory by itself.
    if picked is not None and (picked.lower() == LAST or operation.name != "get_memory"):
        arguments["memory_id"] = memory_id_of(invocation, picked, arguments.get("agent_id"))
    if added or removed:
        _tag(invocation, arguments, added, removed)
    if operation.effect == "delete" and not (unasked or _agreed(invocation, operation, arguments)):
        context.exit(FAILURE)
    answer = call(invocation, operation.name, arguments)
    show(answer, as_json=invocation.as_json, about=arguments.get("query", ""))


def _tag(invocation: Invocation, arguments: dict[str, Any], added: list[str], removed: list[str]) -> None:
    """Set the tags of an update to those that the memory has and these; it is refused if others changed it meanwhile.

    Raises:
        click.UsageError: all tags are given, too.
    """
    if "tags" in arguments:
        raise click.UsageError("Give --tags, or --add-tag and --remove-tag, not both.")
    memory = _memory(invocation, arguments)
    kept = [tag for tag in memory["tags"] if tag not in removed]
    arguments["tags"] = [*kept, *(tag for tag in dict.fromkeys(added) if tag not in kept)]
    arguments.setdefault("expected_version", memory["version"])


def _agreed(invocation: Invocation, operation: Described, arguments: dict[str, Any]) -> bool:
    """Ask whether to delete; where nobody can be asked, it was meant."""
    if invocation.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    what = " ".join(str(arguments[name]) for name in operation.schema["required"])
    if "memory_id" in arguments:
        what = f'"{clipped(_memory(invocation, arguments)["content"], _QUOTED_COLUMNS)}"'
    return click.confirm(f"{operation.command.capitalize()} {what}?", err=True)


def _memory(invocation: Invocation, arguments: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: value for name, value in arguments.items() if name in ("memory_id", "agent_id")}
    memory: dict[str, Any] = call(invocation, "get_memory", named)["memory"]
    return memory
