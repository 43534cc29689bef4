"""How a failure ends the process: one line for people or one object for programs, and an exit code."""

import json
import logging
import re
import sys

import attrs
import click

from tmws_adapters.local.greeting import Refused
from tmws_cli.colours import coloured
from tmws_cli.exits import FAILURE, USAGE
from tmws_cli.output import printable
from tmws_cli.suggestions import options_near
from tmws_core.errors import Kind, TmwsError

logger = logging.getLogger("tmws.cli")

EXIT_CODES = {
    Kind.INVALID: USAGE,
    Kind.TOO_LARGE: USAGE,
    Kind.NOT_FOUND: 3,
    Kind.UNAUTHENTICATED: 4,
    Kind.FORBIDDEN: 4,
    Kind.LIMITED: 4,
    Kind.UNAVAILABLE: 5,
    Kind.CONFLICT: FAILURE,
    Kind.INTERNAL: FAILURE,
}


_EXAMPLE = re.compile(r"[.;] For example: \{.*\}$")
"""The arguments as JSON with which a refusal of the wire ends: nobody types those."""


@attrs.frozen(kw_only=True)
class Failure:
    """Why a command failed."""

    code: str
    message: str
    field: str | None = None
    exit_code: int = FAILURE

    def report(self, *, as_json: bool) -> None:
        """Write it: one line on stderr, or a JSON object on stdout."""
        line = printable(" ".join(self.message.split()))
        if as_json:
            facts = {"code": self.code, "message": line, "field": self.field}
            error = {name: fact for name, fact in facts.items() if fact is not None}
            print(json.dumps({"success": False, "error": error}, ensure_ascii=False))
        else:
            told = _EXAMPLE.sub("", line)
            print(f"{coloured('error:', 'error', sys.stderr)} {told}", file=sys.stderr)


def failure_of(error: Exception) -> Failure:
    """Return what an exception means to whoever typed the command; the log has its traceback at DEBUG."""
    logger.debug("The command failed", exc_info=error)
    match error:
        case TmwsError():
            return Failure(code=error.code, message=error.message, field=error.field, exit_code=EXIT_CODES[error.kind])
        case Refused():
            kind = Kind(error.error.get("kind", Kind.UNAVAILABLE.value))
            field = error.error.get("field")
            return Failure(
                code=str(error.error.get("code")),
                message=str(error),
                field=field if isinstance(field, str) else None,
                exit_code=EXIT_CODES[kind],
            )
        case click.UsageError():
            if isinstance(error, click.NoSuchOption) and error.ctx:
                # Click proposes names that are understood and not shown, and those that are less alike.
                near = options_near(error.option_name, error.ctx.command)
                error = click.NoSuchOption(error.option_name, error.message, near, error.ctx)
            place = error.ctx.command_path if error.ctx else "tmws"
            message = f"{error.format_message()} See `{place} --help`."
            return Failure(code="usage", message=message, exit_code=USAGE)
        case click.ClickException():
            return Failure(code="usage", message=error.format_message(), exit_code=error.exit_code)
        case OSError():
            name = f"{error.filename}: " if error.filename else ""
            return Failure(code="input_output", message=f"{name}{error.strerror or error}")
        case _:
            message = f"{type(error).__name__}: {error} (set TMWS_LOG_LEVEL=DEBUG to see where)"
            return Failure(code="internal", message=message)
