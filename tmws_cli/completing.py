"""Completion for shells: what the shell sources, and what it asks with each press of the tab key."""

import os

import click
from click.shell_completion import get_completion_class, shell_complete

from tmws_cli.exits import COMPLETING

SHELLS = ("bash", "zsh", "fish")


def answer(root: click.Command) -> int:
    """Answer a shell that asks, and return the exit code."""
    return shell_complete(root, {}, "tmws", COMPLETING, os.environ[COMPLETING])


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and their values.

    bash: add `eval "$(tmws completion bash)"` to ~/.bashrc. zsh: add `eval "$(tmws completion zsh)"` to ~/.zshrc.
    fish: `tmws completion fish > ~/.config/fish/completions/tmws.fish`.
    """
    made = get_completion_class(shell)
    if made is not None:
        click.echo(made(context.find_root().command, {}, "tmws", COMPLETING).source())
