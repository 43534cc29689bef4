"""One operation asked of the owner of a place, by a process that does not wait for anything else meanwhile."""

import json
import socket
import time
from collections.abc import Mapping

from tmws_adapters.local.finding import Link, find
from tmws_adapters.local.greeting import Refused
from tmws_adapters.local.limits import LINE_BYTES
from tmws_adapters.local.patience import GRACE_SECONDS, told_by
from tmws_adapters.local.place import Place
from tmws_adapters.local.version import VERSION

_CHUNK = 64 * 1024
"""Bytes a read."""


class Lost(Exception):
    """The connection broke before the answer came: nobody knows whether the operation has run."""


class TooLong(Exception):
    """The line would be longer than LINE_BYTES; nothing was sent."""


def running(place: Place, variables: Mapping[str, str], seconds: float) -> Link | None:
    """Return a connection to an owner that does as this process would, of its version and its settings, or None.

    For commands: `variables` are the settings that were given, with the prefix TMWS_; the operator calls.
    """
    try:
        link = find(place, {"speak": "calls", "transport": "cli", "settings": {**variables}}, seconds=seconds)
    except (OSError, Refused):
        return None
    if link is not None and (link.record.version != VERSION or link.welcome.get("differs")):
        link.socket.close()
        return None
    return link


def ask(link: Link, operation: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """Run an operation there, and return its answer as JSON values; the connection is closed.

    Raises:
        ValueError: the arguments cannot be written as JSON in UTF-8; nothing was sent.
        TooLong: see there.
        Refused: what the other end says.
        Lost: see there.
        TimeoutError: the answer has not come within the time that a request may take, and GRACE_SECONDS.
    """
    with link.socket:
        call = {"id": 1, "operation": operation, "arguments": {**arguments}}
        line = json.dumps(call, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        if len(line) > LINE_BYTES:
            raise TooLong
        try:
            answer = json.loads(_exchange(link.socket, line, told_by(link.welcome) + GRACE_SECONDS))
        except TimeoutError:
            raise
        except (OSError, ValueError):
            raise Lost from None
    if "error" in answer:
        raise Refused(answer["error"])
    result: dict[str, object] = answer["result"]
    return result


def _exchange(connection: socket.socket, line: bytes, seconds: float) -> bytes:
    """Send a line and return the next one, which may be of any length."""
    deadline = time.monotonic() + seconds
    connection.settimeout(seconds)
    connection.sendall(line)
    chunks: list[bytes] = []
    while not chunks or not chunks[-1].endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(_CHUNK)
        if not chunk:
            raise ConnectionResetError
        chunks.append(chunk)
    return b"".join(chunks)
