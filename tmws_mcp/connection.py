"""An agent terminal's connection to the owner of the database."""

import os
import socket
import time

from tmws_adapters.local.finding import Link, silent
from tmws_adapters.local.greeting import Stranger, parse
from tmws_adapters.local.patience import GRACE_SECONDS, told_by, told_here
from tmws_adapters.local.place import Place
from tmws_adapters.local.starting import REACH_GRACE_SECONDS, reach
from tmws_mcp.pipes import Incoming, Outgoing, Overlong
from tmws_mcp.unanswered import is_introduction

_CHUNK = 64 * 1024
"""Bytes a read or a write."""

_INTRODUCTION_SECONDS = 30.0
"""How long the owner may take to answer a repeated introduction; it takes a millisecond."""

_CONTROL = b'{"tmws":'
"""How a line begins that is for this end, not for the client."""


class Connection:
    """A connection that speaks MCP; `outgoing` are the lines for the owner.

    `taken` is how many of those the owner has read, which it says before it hangs up: it answers all of them or none.
    It is None while it has said nothing, and for ever if it dies.
    """

    def __init__(self, link: Link) -> None:
        self._socket = link.socket
        self.descriptor = link.socket.fileno()
        self.outgoing = Outgoing()
        self.taken: int | None = None
        self.is_ended = False
        self.repeatable = _texts(link.welcome.get("repeatable"))
        self.differing = _texts(link.welcome.get("differs"))
        self.timeout = told_by(link.welcome)
        self._incoming = Incoming()
        self._introduced = 0

    def introduce(self, lines: list[bytes]) -> None:
        """Introduce the client as it has done itself before; the answer is not for it.

        Raises:
            OSError: the connection broke, or the owner does not answer.
        """
        self._introduced = len(lines)
        deadline = time.monotonic() + min(_INTRODUCTION_SECONDS, self.timeout + GRACE_SECONDS)
        for line in lines[:1]:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._socket.sendall(line)
            answered = False
            while not answered:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                chunk = self._socket.recv(_CHUNK)
                if not chunk:
                    raise ConnectionResetError
                answered = any(isinstance(each, bytes) and is_introduction(each) for each in self._incoming.feed(chunk))
        for line in lines[1:]:
            self._socket.sendall(line)
        self._socket.setblocking(False)  # noqa: FBT003 - the socket module's signature

    def send(self) -> None:
        """Write as much as goes.

        Raises:
            OSError: the connection broke; BlockingIOError if nothing goes now.
        """
        self.outgoing.write(self.descriptor, _CHUNK)

    def receive(self) -> list[bytes] | None:
        """Return the lines for the client that have come, or None if the owner has hung up.

        Raises:
            OSError: the connection broke; BlockingIOError if nothing has come.
        """
        chunk = os.read(self.descriptor, _CHUNK)
        if not chunk:
            return None
        lines = []
        for line in self._incoming.feed(chunk):
            if isinstance(line, Overlong):  # it sends as much as it likes
                continue
            if line.startswith(_CONTROL):
                self._heed(line)
            else:
                lines.append(line)
        return lines

    def end(self) -> None:
        """Send no more."""
        self.is_ended = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the owner has gone first, which reading finds out
            return

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _heed(self, line: bytes) -> None:
        taken = parse(line).get("taken")
        if isinstance(taken, int):
            self.taken = taken - self._introduced


def connect(place: Place, introduction: list[bytes], *, replace: bool) -> Connection | None:
    """Return a connection to the owner, which knows the client then, or None if it has died meanwhile; see `reach`.

    Raises:
        Refused: see `reach`.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("TMWS_")}
    wants: dict[str, object] = {"speak": "mcp", "settings": variables, "complete": True}
    seconds = told_here(variables) + REACH_GRACE_SECONDS
    connection = Connection(reach(place, wants, replace=replace, seconds=seconds))
    try:
        connection.introduce(introduction)
    except TimeoutError:  # it lives, and another one is not started beside it
        connection.close()
        raise silent(place, connection.timeout + GRACE_SECONDS) from None
    except (OSError, Stranger):
        connection.close()
        return None
    return connection


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
