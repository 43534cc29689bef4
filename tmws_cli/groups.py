"""Groups of commands that are made when they are asked for: importing all of them takes ten times as long as one."""

from collections.abc import Callable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem


class Known:
    """A command that can be made; `text` is its help, of which lists of commands show the beginning."""

    __slots__ = ("make", "text")

    def __init__(self, text: str, make: Callable[[], click.Command]) -> None:
        self.text = text
        self.make = make

    def short(self, limit: int = 45) -> str:
        """Return the beginning of the help, of at most so many characters."""
        return click.Command(None, help=self.text).get_short_help_str(limit)


class Group(click.Group):
    """A group that names what was probably meant by a command that there is not."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant.

        Raises:
            click.UsageError: there is none; what is near is named.
        """
        here = self.list_commands(ctx)
        if args and args[0] not in here and not args[0].startswith("-") and not ctx.resilient_parsing:
            from tmws_cli.suggestions import hint  # noqa: PLC0415 - only a mistake needs it

            raise click.UsageError(f"No such command {args[0]!r}.{hint(args, here=here, path=ctx.command_path)}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group that knows its commands by their names, and makes the one that is wanted."""

    def __init__(self, name: str, *, known: Mapping[str, Known], **options: Any) -> None:
        super().__init__(name, **options)
        self.known = known

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands, in the order of the help."""
        return list(self.known)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Return a command, or None."""
        if cmd_name not in self.commands and cmd_name in self.known:
            self.commands[cmd_name] = self.known[cmd_name].make()
        return self.commands.get(cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words apart: `help` asks for the help of what follows, `version` for the version."""
        word = args[0] if args and args[0] not in self.known else ""
        if word == "help":
            args = [*args[1:], "--help"]
        elif word == "version":
            args = ["--version", *args[1:]]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list of commands without making them."""
        limit = formatter.width - 6 - max(map(len, self.known))
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.short(limit)) for name, each in self.known.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, without making them, and the options."""
        found = [
            CompletionItem(name, help=each.short()) for name, each in self.known.items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]
