"""What every command understands besides its own options: which home, in whose name, and how to answer."""

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

import click

from tmws_adapters.local.place import AGENT, Place, place_at_once

if TYPE_CHECKING:
    from tmws_adapters.settings import Settings

VARIABLES = {
    "--home": "TMWS_HOME",
    "--env-file": "TMWS_ENV_FILE",
    "--agent-id": "TMWS_AGENT_ID",
    "--namespace": "TMWS_AGENT_NAMESPACE",
}
"""The setting behind each option."""

WHO = ("--agent-id", "--namespace")
"""The options that say in whose name a command works."""

RECORDED = ("--agent-id",)
"""Those of a command that the audit log tells of, or that knows `last`, and for which a namespace changes nothing."""

NOBODY: tuple[str, ...] = ()
"""Those of a command that is the same for all agents; it refuses them before its name, too."""


class Invocation:
    """What one call of the command line asked for; the value of click's `obj`."""

    __slots__ = ("as_json", "flags")

    def __init__(self) -> None:
        self.as_json = False
        self.flags: dict[str, str] = {}

    def place(self) -> tuple[Place, dict[str, str]]:
        """Return where the database is, and the settings that were given, with the prefix TMWS_.

        Without a file of settings they are not looked at: an owner that is asked looks at them, and importing what
        looks at them takes as long as asking it.
        """
        given = {name: value for name, value in os.environ.items() if name.startswith("TMWS_")} | self.flags
        place = place_at_once(given)
        if place is not None:
            return place, given
        from tmws_adapters.settings import merged_variables  # noqa: PLC0415 - see above

        return Place(str(self.settings().place)), merged_variables(flags=self.flags)

    def agent_id(self) -> str:
        """Return the agent that stores what is stored without naming another."""
        return self.place()[1].get("TMWS_AGENT_ID", "").strip() or AGENT

    def settings(self, *, reads: bool = False) -> "Settings":
        """Return the settings, with the options on top, and send the log where they say.

        Raises:
            ConfigurationError: a setting is wrong, or what only `reads` would make the directory that --home names.
        """
        import attrs  # noqa: PLC0415 - see `place`

        from tmws_adapters.logs import configure_logging  # noqa: PLC0415 - as above
        from tmws_adapters.settings import load_settings  # noqa: PLC0415 - as above

        settings = load_settings(flags=self.flags)
        if reads and VARIABLES["--home"] in self.flags and not os.path.lexists(settings.home):
            from tmws_core.errors import ConfigurationError  # noqa: PLC0415 - as above

            reason = f"there is no directory {settings.home}, and a command that only reads makes none"
            hint = "Name one that is there, or store something in it first: `tmws --home DIR add`"
            raise ConfigurationError(setting="--home", reason=reason, hint=hint)
        # A command is no server: what was missing is part of its answer, and its error is one line.
        quiet = settings.log_level == "INFO" and settings.log_file is None
        configure_logging(attrs.evolve(settings, log_level="ERROR") if quiet else settings)
        return settings

    def server_settings(self) -> "Settings":
        """Return the settings like `settings`, and log what a server should."""
        from tmws_adapters.logs import configure_logging  # noqa: PLC0415 - as above
        from tmws_adapters.settings import load_settings  # noqa: PLC0415 - as above

        settings = load_settings(flags=self.flags)
        configure_logging(settings)
        return settings


def with_common_options(command: click.Command, uses: Collection[str] = WHO) -> click.Command:
    """Add the options that every command understands, unless it has one of that name.

    Of WHO it gets those that it `uses`: one that changed nothing would be taken for a filter.
    """
    taken = {option for parameter in command.params for option in parameter.opts} | (set(WHO) - set(uses))
    common = _options(_as_json if uses else _of_nobody)
    command.params += [option for option in common if not taken.intersection(option.opts)]
    return command


def only(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the value of an option that may be given once; of two names the first would be forgotten without a word.

    The option is `multiple`, and this is its callback.

    Raises:
        click.UsageError: it is given several times.
    """
    if len(values) > 1:
        given = ", ".join(values)
        raise click.UsageError(f"{parameter.opts[0]} is given {len(values)} times ({given}): give one.", context)
    return values[0] if values else None


def invocation_of(context: click.Context) -> Invocation:
    """Return what this call asked for."""
    return context.ensure_object(Invocation)


def _options(begin: Callable[[click.Context, click.Parameter, bool], None]) -> list[click.Option]:
    return [
        click.Option(["--json", "as_json"], is_flag=True, expose_value=False, callback=begin, help="Answer as JSON."),
        _flag("--home", "DIR", "The data directory, instead of TMWS_HOME."),
        _flag("--env-file", "FILE", "A file with settings, instead of TMWS_ENV_FILE."),
        _flag(
            "--agent-id",
            "AGENT",
            "Who owns what you store, and `last`; instead of TMWS_AGENT_ID. Commands see everything.",
        ),
        _flag("--namespace", "NAMESPACE", "The agent's namespace, instead of TMWS_AGENT_NAMESPACE."),
    ]


def _flag(name: str, metavar: str, text: str) -> click.Option:
    # A name of its own: commands have arguments called `agent_id`.
    words = [name, f"common_{name[2:].replace('-', '_')}"]
    option = partial(click.Option, words, metavar=metavar, help=text, expose_value=False)
    return option(multiple=True, callback=_remember_only) if name in WHO else option(callback=_remember)


def _as_json(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    invocation_of(context).as_json |= value


def _of_nobody(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - as above
    """Refuse what was given before a command for which it changes nothing; the environment is for all commands."""
    _as_json(context, parameter, value)
    given = invocation_of(context).flags
    option = next((each for each in WHO if VARIABLES[each] in given), None)
    if option is None or context.resilient_parsing:
        return
    import shlex  # noqa: PLC0415 - only a mistake needs it

    own = {name for each in context.command.params for name in each.opts}
    behind = next((name for name in (option, option.removesuffix("-id")) if name in own), None)
    reason = f"{option} before the command says who stores, and changes nothing of `{context.command_path}`"
    instead = f"{behind} {shlex.quote(given[VARIABLES[option]])}"
    hint = f"Write it behind: `{context.command_path} … {instead}`." if behind else "Leave it out."
    raise click.UsageError(f"{reason}. {hint}", context)


def _remember_only(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
    _remember(context, parameter, only(context, parameter, values))


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        invocation_of(context).flags[VARIABLES[parameter.opts[0]]] = value
