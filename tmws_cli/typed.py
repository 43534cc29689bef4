"""Command lines as people type them: a text may begin with a dash, and options have other names in other programs."""

import re
from collections.abc import Iterator
from typing import Any

import click

MARK = "\0"
"""Stands before a text that begins with a dash while click looks for options; no argument of a process holds it."""

_TEXT = re.compile(r"-(\d|[^=]*\s)")
"""How a text begins that is no option: with a number, or with a dash and several words."""

_OF_NO_MEMORY = {
    **dict.fromkeys(("file", "from_file", "filename", "path"), "The text of a file comes on stdin: `tmws add < FILE`."),
    **dict.fromkeys(("title", "name", "subject", "heading"), "A memory has no title: begin its text with it."),
    "namespace": "A memory stays in its namespace: store the text anew with `tmws add … --namespace`.",
}
"""Options that are typed where a memory is stored or changed, and what to do instead."""


class Option(click.Option):
    """An option with `others`, names that are understood and not shown."""

    def __init__(self, names: list[str], *, others: tuple[str, ...] = (), **about: Any) -> None:
        super().__init__(names, **about)
        self.others = others

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let all names be found."""
        shown, self.opts = self.opts, [*self.opts, *self.others]
        super().add_to_parser(parser, ctx)
        self.opts = shown


class Command(click.Command):
    """A command that tells texts from options, and what to type instead of an option that there is not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words of a command line apart.

        Raises:
            click.UsageError: see click.
        """
        try:
            return super().parse_args(ctx, list(self._marked(args)))
        except click.NoSuchOption as error:
            instead = self._instead_of(error.option_name)
            if not instead:
                raise
            raise click.UsageError(f"{error.message} {instead}", ctx) from None

    def _marked(self, args: list[str]) -> Iterator[str]:
        """Yield the words, those that are texts and begin with a dash behind a MARK."""
        takes_texts = any(isinstance(each, click.Argument) and each.nargs == -1 for each in self.params)
        options = [each for each in self.params if isinstance(each, click.Option) and not each.is_flag]
        with_values = {name for each in options for name in (*each.opts, *getattr(each, "others", ()))}
        for former, word in zip(("", *args), args, strict=False):
            is_text = takes_texts and former not in with_values and _TEXT.match(word)
            yield f"{MARK}{word}" if is_text else word

    def _instead_of(self, option: str) -> str:
        from tmws_core.domain.nearest import ALIASES, EITHER, OF_NO_FIELD  # noqa: PLC0415 - only a mistake needs it

        word = option.lstrip("-").replace("-", "_").lower()
        known = {each.name: each for each in self.params}
        here = [known[name] for name in EITHER.get(word, ()) if name in known]
        if here:
            choices = (f"{each.opts[0]} ({_beginning(each)})" for each in here if isinstance(each, click.Option))
            return f"Say {' or '.join(choices)}."
        meant = next((known[name] for name in (word, *ALIASES.get(word, ())) if name in known), None)
        if isinstance(meant, click.Argument):
            return f"Write the {meant.name} without it."
        if word in OF_NO_FIELD:
            return f"{OF_NO_FIELD[word]}."
        return _OF_NO_MEMORY.get(word, "") if "content" in known else ""


def unmarked(value: Any) -> Any:
    """Return a value as it was typed."""
    match value:
        case str():
            return value.removeprefix(MARK)
        case tuple():
            return tuple(unmarked(each) for each in value)
    return value


def _beginning(option: click.Option) -> str:
    return (option.help or "").partition(";")[0].lower()
