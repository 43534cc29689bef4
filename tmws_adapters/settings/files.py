"""Files with settings: what may be one, and what is in it; nothing in it is expanded, and no other file is read."""

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from tmws_core.errors import ConfigurationError

NAME = ".env"
"""The file in the data directory."""

MOST_BYTES = 1024 * 1024
"""The largest file that is read; with every setting in it, explained, one has 15 kB."""


def variables_in(path: Path, *, named: bool) -> Mapping[str, str]:
    """Return the variables in a file.

    One that was not `named` may be missing, and has to be beyond the reach of other users: it is found by its place.

    Raises:
        ConfigurationError: it cannot be read or understood, or may be somebody else's.
    """
    try:
        # A pipe would let this wait for ever otherwise.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if not named and isinstance(error, FileNotFoundError | NotADirectoryError):
            return {}
        raise _refusal(path, f"cannot be read ({error.strerror})", "Give this user the right to read it") from None
    try:
        content = _content(path, descriptor, named=named)
    except OSError as error:
        raise _refusal(path, f"cannot be read ({error.strerror})", "Look for disk errors") from None
    finally:
        os.close(descriptor)
    return _parsed(path, content)


def _content(path: Path, descriptor: int, *, named: bool) -> bytes:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise _refusal(path, "is no regular file", "Put a text file there, or nothing")
    if not named and facts.st_uid not in (os.geteuid(), 0):
        raise _refusal(path, "belongs to another user", "Take it over with chown, or name it by TMWS_ENV_FILE")
    if not named and facts.st_mode & stat.S_IWOTH:
        raise _refusal(path, "can be written by every user", "Run chmod o-w on it")
    content = b""
    while len(content) <= MOST_BYTES and (chunk := os.read(descriptor, MOST_BYTES)):
        content += chunk
    if len(content) > MOST_BYTES:
        raise _refusal(path, f"has more than {MOST_BYTES} bytes", "Leave only settings in it")
    return content


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
