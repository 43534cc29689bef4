"""The command line: from words to an exit code."""

import io
import os
import sys
from collections.abc import Sequence

import click

from tmws_cli.commands import root
from tmws_cli.exits import COMPLETING, FAILURE, INTERRUPTED, USAGE


def run(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code."""
    _open_closed()
    _speak_utf8()
    try:
        code = _completed() if COMPLETING in os.environ else _invoke(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError:
        _forget_output()
        return FAILURE
    return code


def _completed() -> int:
    from tmws_cli.completing import answer  # noqa: PLC0415 - only a shell that asks needs it

    return answer(root)


def _invoke(arguments: Sequence[str]) -> int:
    try:
        with root.make_context("tmws", list(arguments)) as context:
            root.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback reaches the user
        from tmws_cli.failures import failure_of  # noqa: PLC0415 - only who fails waits for it

        failure = failure_of(error)
        failure.report(as_json="--json" in arguments)
        return failure.exit_code
    return 0


def _open_closed() -> None:
    """Write what goes to a stream that is closed (`>&-`) nowhere; what is opened later does not take its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", closefd=False))


def _speak_utf8() -> None:
    """Write UTF-8 whatever the locale says, and whatever the text holds."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _forget_output() -> None:
    """Let the interpreter flush into the void: stdout takes no more, because its reader has gone or a disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
