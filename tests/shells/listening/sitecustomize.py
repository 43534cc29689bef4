"""Writes down what a Python process looks up, connects to and writes, where strace is missing; see tests.shells.traced.

Found on PYTHONPATH by every interpreter that a traced process starts.
"""

import json
import os
import sys
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_TARGETS = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}
"""Events that make a name, with the argument that holds it."""

_TRACE = os.environ.get("TEST_TRACE", "")


def _noted(event: str, arguments: tuple[Any, ...]) -> tuple[str, Any] | None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return "lookup", arguments[0]
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        return "connection", arguments[1][:2]
    if event == "open" and isinstance(arguments[0], str | bytes) and (arguments[2] or 0) & _WRITING:
        return "write", os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - pathlib is not loaded yet
    if event in _TARGETS and isinstance(arguments[_TARGETS[event]], str | bytes):
        return "write", os.path.abspath(os.fsdecode(arguments[_TARGETS[event]]))  # noqa: PTH100
    return None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    found = _noted(event, arguments)
    if found is not None:
        os.write(_trace, json.dumps(found, default=str).encode() + b"\n")


if _TRACE:
    _trace = os.open(_TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.set_inheritable(_trace, False)  # noqa: FBT003 - the signature is Python's
    sys.addaudithook(_listen)
