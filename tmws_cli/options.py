"""What every command understands besides its own options: which home, in whose name, and how to answer."""

import attrs
import click

from tmws_adapters.logs import configure_logging
from tmws_adapters.settings import Settings, load_settings

VARIABLES = {
    "--home": "TMWS_HOME",
    "--env-file": "TMWS_ENV_FILE",
    "--agent-id": "TMWS_AGENT_ID",
    "--namespace": "TMWS_AGENT_NAMESPACE",
}
"""The setting behind each option."""


@attrs.define
class Invocation:
    """What one call of the command line asked for; the value of click's `obj`."""

    as_json: bool = False
    flags: dict[str, str] = attrs.field(factory=dict)

    def settings(self) -> Settings:
        """Return the settings, with the options on top, and send the log where they say."""
        settings = load_settings(flags=self.flags)
        # A command is no server: what was missing is part of its answer, and its error is one line.
        quiet = settings.log_level == "INFO" and settings.log_file is None
        configure_logging(attrs.evolve(settings, log_level="ERROR") if quiet else settings)
        return settings

    def server_settings(self) -> Settings:
        """Return the settings like `settings`, and log what a server should."""
        settings = load_settings(flags=self.flags)
        configure_logging(settings)
        return settings


def with_common_options(command: click.Command) -> click.Command:
    """Add the options that every command understands, unless it has one of that name."""
    taken = {option for parameter in command.params for option in parameter.opts}
    command.params += [option for option in _options() if not taken.intersection(option.opts)]
    return command


def invocation_of(context: click.Context) -> Invocation:
    """Return what this call asked for."""
    return context.ensure_object(Invocation)


def _options() -> list[click.Option]:
    return [
        click.Option(
            ["--json", "as_json"], is_flag=True, expose_value=False, callback=_as_json, help="Answer as JSON."
        ),
        _flag("--home", "DIR", "The data directory, instead of TMWS_HOME."),
        _flag("--env-file", "FILE", "A file with settings, instead of TMWS_ENV_FILE."),
        _flag("--agent-id", "AGENT", "In whose name, instead of TMWS_AGENT_ID."),
        _flag("--namespace", "NAMESPACE", "The agent's namespace, instead of TMWS_AGENT_NAMESPACE."),
    ]


def _flag(name: str, metavar: str, text: str) -> click.Option:
    # A name of its own: commands have arguments called `agent_id`.
    words = [name, f"common_{name[2:].replace('-', '_')}"]
    return click.Option(words, metavar=metavar, help=text, expose_value=False, callback=_remember)


def _as_json(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    invocation_of(context).as_json |= value


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        invocation_of(context).flags[VARIABLES[parameter.opts[0]]] = value
