"""The commands: those that derive from the operations, beside those that are written by hand."""

import sys
from functools import partial

import click

from tmws_adapters.local.version import VERSION
from tmws_cli import by_hand
from tmws_cli.derived import command_of
from tmws_cli.descriptions import described, helps, of_group
from tmws_cli.groups import Known, LazyGroup
from tmws_cli.options import invocation_of, with_common_options

GROUPS = {
    "agent": "Register agents, and say what they may do.",
    "memory": "Store, find, change and share memories.",
    "system": "Ask how the service is.",
}


SHORT = {
    "add": ("create_memory", "Store a memory: `tmws memory create` for short."),
    "search": ("search_memories", "Find memories: `tmws memory search` for short."),
}
"""What is typed most, without the name of its group."""


def _short(name: str, operation: str) -> click.Command:
    return command_of(described()[operation], name)


def _by_hand(path: str, where: str) -> Known:
    return Known(helps().get(path, ""), partial(by_hand.made, where))


def _group(name: str) -> click.Group:
    known = {each.command: Known(each.description, partial(command_of, each)) for each in of_group(name)}
    known |= {each: _by_hand(f"{name} {each}", where) for each, where in by_hand.IN_GROUPS.get(name, {}).items()}
    return LazyGroup(name, known=dict(sorted(known.items())), help=GROUPS[name], no_args_is_help=True)


def _known() -> dict[str, Known]:
    short = {name: Known(text, partial(_short, name, operation)) for name, (operation, text) in SHORT.items()}
    groups = {name: Known(text, partial(_group, name)) for name, text in GROUPS.items()}
    by_their_names = groups | {name: _by_hand(name, where) for name, where in by_hand.COMMANDS.items()}
    return {**short, **dict(sorted(by_their_names.items()))}


@click.group(
    "tmws",
    cls=LazyGroup,
    known=_known(),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(version=VERSION, message="tmws %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Durable memory for AI agents.

    Without a command and with a pipe on stdin it speaks MCP over stdio.
    """
    if context.invoked_subcommand is None:
        if sys.stdin is None or sys.stdin.isatty():
            click.echo(context.get_help())
        else:
            from tmws_cli.terminal import become_terminal  # noqa: PLC0415 - no command needs it

            become_terminal(invocation_of(context).flags)


with_common_options(root)
