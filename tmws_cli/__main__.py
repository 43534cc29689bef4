"""The entry points `tmws` and `tmws-mcp-server`; an agent terminal gets by without the command line."""

import os
import sys


def main() -> None:
    """Speak MCP if there is a pipe on stdin and nothing else to do, else run the command line; end the process."""
    completing = "_TMWS_COMPLETE" in os.environ  # a shell asks
    if not completing and not sys.argv[1:] and sys.stdin is not None and not sys.stdin.isatty():
        from tmws_adapters.local.place import place_at_once  # noqa: PLC0415 - click is not for agent terminals
        from tmws_cli.terminal import speak  # noqa: PLC0415

        place = place_at_once(os.environ)
        if place is not None:
            sys.exit(speak(place))
    _run(sys.argv[1:])


def serve() -> None:
    """Run `tmws serve`."""
    _run(["serve", *sys.argv[1:]])


def _run(arguments: list[str]) -> None:
    from tmws_cli.program import run  # noqa: PLC0415 - see main

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
