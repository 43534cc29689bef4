"""The commands: those that derive from the operations, beside those of `tmws_cli.admin`."""

import sys
from contextlib import suppress
from functools import cache
from typing import Any

import anyio
import click

from tmws_adapters.bootstrap import open_app, version
from tmws_adapters.remote import ServiceUnreachable, open_running
from tmws_adapters.settings import merged_variables
from tmws_cli import admin
from tmws_cli.agents import import_agents
from tmws_cli.options import Invocation, invocation_of, with_common_options
from tmws_cli.output import show
from tmws_cli.parameters import parameters_of, request_of
from tmws_cli.terminal import become_terminal
from tmws_core.app import SERVICES
from tmws_core.operation import Operation, operations_described_by
from tmws_core.schema import schema_of

GROUPS = {
    "memory": "Store, find, change and share memories.",
    "agent": "Register agents, and say what they may do.",
    "system": "Ask how the service is.",
}


class _Root(click.Group):
    """Builds the derived commands only when they are asked for: the start over stdio needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_derived(), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or _derived().get(cmd_name)


@click.group(
    cls=_Root,
    commands=admin.COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(version=version(), message="tmws %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Durable memory for AI agents.

    Without a command and with a pipe on stdin it speaks MCP over stdio.
    """
    if context.invoked_subcommand is None:
        if sys.stdin is None or sys.stdin.isatty():
            click.echo(context.get_help())
        else:
            become_terminal(invocation_of(context).flags)


with_common_options(root)


@cache
def _derived() -> dict[str, click.Group]:
    groups: dict[str, click.Group] = {}
    for operation in operations_described_by(SERVICES).values():
        group = groups.setdefault(
            operation.group, click.Group(operation.group, help=GROUPS[operation.group], no_args_is_help=True)
        )
        group.add_command(_command(operation))
    groups["agent"].add_command(import_agents)
    return dict(sorted(groups.items()))


def _command(operation: Operation) -> click.Command:
    schema = schema_of(operation.request)

    @click.pass_context
    def run(context: click.Context, /, **values: Any) -> None:
        invocation = invocation_of(context)
        show(anyio.run(_call, invocation, operation.name, request_of(schema, values)), as_json=invocation.as_json)

    return with_common_options(
        click.Command(operation.command, params=parameters_of(schema), callback=run, help=operation.description)
    )


async def _call(invocation: Invocation, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    settings = invocation.settings()
    with suppress(ServiceUnreachable):
        async with open_running(settings, merged_variables(flags=invocation.flags)) as running:
            return await running.call_wire(name, arguments)
    async with open_app(settings, any_model=True) as app:
        return await app.call_wire(settings.operator("cli"), name, arguments)
