"""Secrets that a command is given: over stdin, for whoever may list processes reads what stands on a command line."""

import sys

from tmws_adapters.local.libpq import SERVER_SCHEMES, parameters_of
from tmws_core.errors import InvalidField

STDIN = "-"
"""What stands on the command line for a secret that comes over stdin."""

SECRET_BYTES = 16 * 1024
"""The longest secret that is read: twice the longest credential that a server looks at."""


def given_secret(name: str, value: str, *, is_secret: bool = True) -> str:
    """Return an argument, or the secret on stdin that it stands for; warn of one that came on the command line.

    Raises:
        InvalidField: what is on stdin is no text, or too long for a secret.
    """
    if value == STDIN:
        raw = sys.stdin.buffer.read(SECRET_BYTES + 1)
        if len(raw) > SECRET_BYTES:
            raise InvalidField(name=name, reason=f"has more than {SECRET_BYTES} bytes on stdin")
        try:
            return raw.decode().strip()
        except UnicodeDecodeError:
            raise InvalidField(name=name, reason="is no UTF-8 on stdin") from None
    if is_secret:
        warn_of(name, f"give {STDIN} and it on stdin")
    return value.strip()


def warn_of_password(name: str, url: str | None) -> None:
    """Warn of a URL on the command line that holds a password."""
    if url is None or not url.startswith(SERVER_SCHEMES):
        return
    given = parameters_of(url)
    if "@" in url if given is None else {"password", "sslpassword"} & given.keys():
        warn_of(name, "leave the password out: libpq finds it in PGPASSWORD or ~/.pgpass")


def warn_of(name: str, remedy: str) -> None:
    """Say on stderr that an argument can be read by others."""
    line = f"warning: {name} is a secret, and whoever lists the processes of this machine can read it; {remedy}"
    print(line, file=sys.stderr)
