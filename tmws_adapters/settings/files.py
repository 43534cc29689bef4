"""Files with settings: what may be one, and what is in it; nothing in it is expanded, and no other file is read."""

import io
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from tmws_adapters.private import Unfit, read_own, read_small
from tmws_core.errors import ConfigurationError

NAME = ".env"
"""The file in the data directory."""


def variables_in(path: Path, *, named: bool) -> Mapping[str, str]:
    """Return the variables in a file.

    One that was not `named` may be missing, and has to be beyond the reach of other users: it is found by its place.

    Raises:
        ConfigurationError: it cannot be read or understood, or may be somebody else's.
    """
    try:
        content = read_small(str(path)) if named else read_own(str(path))
    except Unfit as error:
        hint = f"{error.remedy}, or move it and name it by TMWS_ENV_FILE" if not named else error.remedy
        raise _refusal(path, error.reason, hint) from None
    except OSError as error:
        if not named and isinstance(error, FileNotFoundError | NotADirectoryError):
            return {}
        hint = "Give this user the right to read it, or look for disk errors"
        raise _refusal(path, f"cannot be read ({error.strerror})", hint) from None
    return _parsed(path, content)


def _parsed(path: Path, content: bytes) -> dict[str, str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"is no UTF-8 text (byte {error.start + 1})"
        raise _refusal(path, reason, "Save it as UTF-8") from None
    if "\0" in text:
        raise _refusal(path, "holds a NUL character", "Save it as plain text")
    variables = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise _refusal(path, f"line {binding.original.line} is not understood", "Write NAME=value")
        if binding.key is not None and binding.value is not None:
            variables[binding.key] = binding.value
    return variables


def _refusal(path: Path, reason: str, hint: str) -> ConfigurationError:
    return ConfigurationError(setting=str(path), reason=reason, hint=hint)
