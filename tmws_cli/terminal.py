"""The start over stdio: `python -m tmws_cli.terminal DATABASE` is an agent terminal, and nothing else is imported."""

import os
import sys
from collections.abc import Mapping

from tmws_adapters.local.greeting import Refused
from tmws_adapters.local.place import Place
from tmws_cli.serving import refuse_stdio, serve_stdio


def speak(place: Place) -> int:
    """Speak MCP over stdin and stdout until the input ends, and return the exit code."""
    try:
        serve_stdio(place)
    except Refused as refused:
        from tmws_cli.failures import failure_of  # noqa: PLC0415 - only who fails waits for it

        failure = failure_of(refused)
        failure.report(as_json=False)
        return failure.exit_code
    return 0


def become_terminal(flags: Mapping[str, str]) -> None:
    """Replace this process by an agent terminal, whose environment holds what files and options say.

    Raises:
        ConfigurationError: the settings are not understood.
    """
    from pathlib import Path  # noqa: PLC0415 - most terminals need none of it

    from tmws_adapters.settings import ENV_FILE, load_settings, merged_variables  # noqa: PLC0415
    from tmws_core.errors import TmwsError  # noqa: PLC0415

    try:
        database = str(load_settings(flags=flags).place)
        variables = merged_variables(flags=flags)
    except TmwsError as error:
        refuse_stdio({"code": error.code, "message": error.message, "field": error.field, "kind": error.kind.value})
        raise
    for name, value in variables.items():
        if name.endswith("_FILE") and name != "TMWS_LOG_FILE":
            variables[name] = str(Path(value).absolute())  # the owner may work in another directory
    words = [sys.executable, "-P", "-m", "tmws_cli.terminal", database]
    inherited = {name: value for name, value in os.environ.items() if name != ENV_FILE}
    os.execve(sys.executable, words, {**inherited, **variables})  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.exit(speak(Place(sys.argv[1])))
