"""Commands that derive from the operations, with what makes them worth typing."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from tmws_cli.calling import call
from tmws_cli.descriptions import Described
from tmws_cli.exits import FAILURE
from tmws_cli.options import NOBODY, RECORDED, WHO, Invocation, invocation_of, with_common_options
from tmws_cli.output import clipped, is_empty, printable, show
from tmws_cli.parameters import listed, parameters_of, request_of
from tmws_cli.picking import LAST, QUOTED_COLUMNS, memory_id_of
from tmws_cli.typed import Command, Option, unmarked
from tmws_core.domain.narrowing import none_for


def command_of(operation: Described, name: str | None = None) -> click.Command:
    """Return the command of an operation, by another name if one is given."""

    @click.pass_context
    def run(context: click.Context, /, **values: Any) -> None:
        _run(context, operation, values)

    extra = _EXTRA.get(operation.name, _ASKED if operation.effect == "delete" else ())
    return with_common_options(
        Command(
            name or operation.command,
            params=[*parameters_of(operation.schema), *(kind(words, **about) for kind, words, about in extra)],
            callback=run,
            help=operation.description,
        ),
        _used_by(operation),
    )


def _used_by(operation: Described) -> tuple[str, ...]:
    """Return the options for which it matters in whose name the operator asks, who sees everything in any name."""
    if operation.name in ("get_current_agent", "create_memories"):
        return WHO
    return NOBODY if operation.effect == "read" and "memory_id" not in operation.schema["properties"] else RECORDED


_Extra = tuple[Callable[..., click.Parameter], list[str], dict[str, Any]]

_ASKED: tuple[_Extra, ...] = (
    (click.Option, ["--yes", "-y"], {"is_flag": True, "help": "Do not ask, as is done on a terminal."}),
)
_TAGS: tuple[_Extra, ...] = (
    (Option, ["--tags", "tags"], {"multiple": True, "hidden": True, "others": ("--tag", "--label", "--labels")}),
)
_EXTRA: Mapping[str, tuple[_Extra, ...]] = {
    "update_memory": (
        (click.Argument, ["text"], {"nargs": -1, "metavar": "[CONTENT]..."}),
        *(
            (click.Option, [f"--{word}-tag"], {"multiple": True, "metavar": "TAG", "help": f"{text}; several as a,b"})
            for word, text in (("add", "Add a tag to those that it has"), ("remove", "Take a tag away"))
        ),
    ),
    "search_memories": _TAGS,
    "list_memories": _TAGS,
}
"""What commands take that their operations do not have."""


def _run(context: click.Context, operation: Described, values: dict[str, Any]) -> None:
    invocation = invocation_of(context)
    added, removed = (listed(values.pop(name, ())) for name in ("add_tag", "remove_tag"))
    unasked = values.pop("yes", False)
    arguments = request_of(operation.schema, _meant(context, operation, values))
    picked = arguments.get("memory_id")
    # An operation that takes the beginning of an id finds the memory by itself.
    if picked is not None and (picked.lower() == LAST or operation.name != "get_memory"):
        # A required agent is the one that is asked about, not the one that acts.
        acting = None if "agent_id" in operation.schema["required"] else arguments.get("agent_id")
        changes = operation.effect != "read"
        arguments["memory_id"] = memory_id_of(invocation, picked, acting, changes=changes)
    if added or removed:
        _tag(invocation, arguments, added, removed)
    if operation.effect == "delete" and not (unasked or _agreed(invocation, operation, arguments)):
        context.exit(FAILURE)
    answer = call(invocation, operation.name, arguments)
    if operation.name == "create_memory":
        _tell_of_file(values["content"])
    about, details = arguments.get("query", ""), arguments.get("details", False)
    none = _none(invocation, arguments) if is_empty(answer) and not invocation.as_json else None
    show(answer, as_json=invocation.as_json, about=about, details=details, none=none)


def _tell_of_file(words: tuple[str, ...]) -> None:
    """Say that the name of a file was stored, where the one word of a text is that."""
    path = words[0].removeprefix("@") if len(words) == 1 else ""
    if os.path.isfile(path):  # noqa: PTH113 - pathlib is not imported yet
        import shlex  # noqa: PLC0415 - only a mistake needs it

        told = f"warning: the name is stored; `tmws add < {shlex.quote(path)}` stores what is in the file"
        print(printable(told), file=sys.stderr)


def _none(invocation: Invocation, arguments: Mapping[str, Any]) -> str | None:
    """Return what is said where nothing passed the filters, with the namespaces that are near the one that was typed.

    The operator sees all of them.
    """
    none = none_for(arguments)
    if none is None or "namespace" not in arguments:
        return none
    from tmws_cli.suggestions import namespaces_beside  # noqa: PLC0415 - only a mistake needs it

    counts = call(invocation, "get_memory_stats", {})["by_namespace"]
    return f"{none}{namespaces_beside(arguments['namespace'], counts)}"


def _meant(context: click.Context, operation: Described, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed under the names of fields; a text that is missing is on stdin, which is no terminal then.

    Raises:
        click.UsageError: a text is missing, is given twice, or several tags can mean two things.
    """
    meant = {name: unmarked(value) for name, value in values.items()}
    text, required = meant.pop("text", ()), operation.schema.get("required", ())
    if text and meant["content"] is not None:
        raise click.UsageError("Give the text as CONTENT or as --content, not both.", context)
    if text:
        meant["content"] = text
    if "tags_any" in meant and (tags := listed(meant.pop("tags"))):
        if len(tags) > 1:
            either = ",".join(tags)
            raise click.UsageError(f"Say --tags-any {either} (one of them) or --tags-all {either} (all).", context)
        meant["tags_any"] = (*meant["tags_any"], *tags)
    missing = [each for each in context.command.params if each.name in required and meant[each.name] == ()]
    if missing and (sys.stdin is None or sys.stdin.isatty()):
        raise click.MissingParameter(ctx=context, param=missing[0])
    return meant | {str(each.name): "-" for each in missing}


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
        what = f'"{clipped(_memory(invocation, arguments)["content"], QUOTED_COLUMNS)}"'
    return click.confirm(f"{operation.command.capitalize()} {what}?", err=True)


def _memory(invocation: Invocation, arguments: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: value for name, value in arguments.items() if name in ("memory_id", "agent_id")}
    memory: dict[str, Any] = call(invocation, "get_memory", named)["memory"]
    return memory
