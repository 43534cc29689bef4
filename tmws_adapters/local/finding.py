"""Finding the owner of a place, and greeting it."""

import os
import socket
import time

from tmws_adapters.local.greeting import (
    GREETING_BYTES,
    WIRE,
    Elsewhere,
    Refused,
    Silent,
    Stranger,
    is_proven,
    line_of,
    new_nonce,
    nonce_in,
    parse,
    proof_of,
    reason_in,
)
from tmws_adapters.local.libpq import defaults_in
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.place import Place
from tmws_adapters.local.record import Record, believed, read
from tmws_adapters.local.version import VERSION
from tmws_adapters.local.whereabouts import network, processes
from tmws_adapters.private import Unfit

PROOF_SECONDS = 30.0
"""How long an owner may take to prove itself: one that has just started imports for a second first, or for longer."""

_SHORTEST_SECONDS = 0.001
"""The least that a socket is let wait: 0 would mean not at all."""

OPEN_SECONDS = 120.0
"""How long a proven owner may take to accept: it opens the store first, and may have to migrate it."""


SETTLE_SECONDS = 1.0
"""How long a record has to stay as it is until it is believed to be of who holds the lock: a new owner removes the
former one's record some microseconds after it has taken the lock, or later where it is left without the processor."""

_POLL_SECONDS = 0.02
"""How often to look whether it has."""

_CONNECT_SECONDS = 0.5
"""How long a connection to this machine may take where nothing is said on it; the kernel makes it, in 0.1 ms."""


class Link:
    """A connection to the owner that has been greeted; whoever gets it closes `socket`.

    `record` is what the owner wrote down, `welcome` its last line. It sends nothing more before it is asked.
    """

    __slots__ = ("record", "socket", "welcome")

    def __init__(self, connection: socket.socket, record: Record) -> None:
        self.socket = connection
        self.record = record
        self.welcome: dict[str, object] = {}

    def ask(self, message: dict[str, object], seconds: float) -> dict[str, object]:
        """Send a line, and return the next one.

        Raises:
            OSError: the connection broke, or the line took more than so many seconds.
            Stranger: what came is no line of a greeting.
        """
        deadline = time.monotonic() + seconds
        self.socket.settimeout(max(seconds, _SHORTEST_SECONDS))
        self.socket.sendall(line_of(message))
        line = b""
        while not line.endswith(b"\n"):
            self.socket.settimeout(max(deadline - time.monotonic(), _SHORTEST_SECONDS))
            chunk = self.socket.recv(GREETING_BYTES)
            if not chunk:
                raise ConnectionResetError
            line += chunk
            if len(line) > GREETING_BYTES:
                raise Stranger
        return parse(line)

    def prove(self, seconds: float) -> None:
        """Exchange proofs; the owner's is checked, ours is in `welcome` until `speak` sends it.

        Raises:
            OSError: see `ask`.
            Stranger: it is not the owner.
        """
        hers = new_nonce()
        answer = self.ask({"tmws": WIRE, "nonce": hers}, seconds)
        his = nonce_in(answer)
        if not is_proven(self.record.secret, "owner", (hers, his), answer.get("proof")):
            raise Stranger
        self.welcome = {**answer, "proof": proof_of(self.record.secret, "client", hers, his)}

    def speak(self, wants: dict[str, object], seconds: float = OPEN_SECONDS) -> None:
        """Say what the connection is for; `welcome` is the owner's answer then.

        Raises:
            OSError: see `ask`.
            Stranger: see `ask`.
            Refused: the owner does not want to.
        """
        self.welcome = self.ask({"proof": self.welcome["proof"], **wants}, seconds)
        if self.welcome.get("ok") is not True:
            raise Refused(reason_in(self.welcome.get("error")))
        self.socket.settimeout(None)


def find(
    place: Place, wants: dict[str, object], *, replace: bool = False, seconds: float = OPEN_SECONDS
) -> Link | None:
    """Return a connection to the owner of a place, or None where there is none to talk to within so many seconds.

    With `replace`, an owner of another version that clients started is asked to stop, and counts as none.

    Raises:
        Refused: the owner refuses, or speaks another version of the protocol.
        Elsewhere: see `knock`.
        OSError: the lock's file cannot be opened.
    """
    deadline = time.monotonic() + seconds
    link = knock(place, min(PROOF_SECONDS, seconds))
    if link is None:
        return None
    try:
        if replace and link.record.kind == "owner" and link.welcome.get("version") != VERSION:
            link.speak({"speak": "stop"}, deadline - time.monotonic())
            link.socket.close()
            return None
        _check(link)
        link.speak({**wants, "libpq": defaults_in(os.environ)}, min(OPEN_SECONDS, deadline - time.monotonic()))
    except (OSError, Stranger):
        link.socket.close()
        return None
    except Refused:
        link.socket.close()
        raise
    return link


def knock(place: Place, seconds: float = PROOF_SECONDS) -> Link | None:
    """Return a connection to an owner that has proven itself, or None; it waits for `speak`, or to be closed.

    An owner that is stopped is none after so many seconds: the kernel connects, and nobody answers.

    Raises:
        Elsewhere: it is in another container or on another host, which takes SETTLE_SECONDS to tell.
        OSError: the lock's file cannot be opened, or another user can have written what the owner says of itself.
    """
    record = believed(place.record) if is_taken(place.lock) else None
    if record is None:
        return None
    link = _greeted(record, seconds)
    if link is None and record.network not in (None, network()) and _is_settled(place, record):
        raise _elsewhere(place, record)
    return link


def _greeted(record: Record, seconds: float) -> Link | None:
    try:
        connection = socket.create_connection(("127.0.0.1", record.port), max(seconds, _SHORTEST_SECONDS))
    except OSError:
        return None
    link = Link(connection, record)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.prove(seconds)
    except (OSError, Stranger, ValueError):
        connection.close()
        return None
    return link


def _is_settled(place: Place, record: Record) -> bool:
    """Tell whether a record stays the one of who holds the lock."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while is_taken(place.lock):
        found = believed(place.record)
        if found is None or found.secret != record.secret:
            return False
        if time.monotonic() > deadline:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _elsewhere(place: Place, record: Record) -> Elsewhere:
    where = f" (at {record.url} there)" if record.url else ""
    said = f"{place.database} is served by another container or host{where}, which cannot be reached from here"
    remedy = "Run one `tmws serve`, and give clients in other containers its URL; or end that one first"
    return Elsewhere(said, remedy)


def refusal(code: str, message: str, kind: str = "unavailable") -> Refused:
    """Return a refusal in the form of the owner's own."""
    return Refused({"code": code, "message": message, "kind": kind})


def silent(place: Place, seconds: float) -> Silent:
    """Return what to tell the user when an owner is there and has said nothing for so many seconds."""
    said, remedy = unheard(place, f" (nothing came within {seconds:g} seconds)")
    message = f"{said[0].upper()}{said[1:]}. {remedy}, and try again"
    return Silent({"code": "unavailable", "message": message, "kind": "unavailable"})


def unheard(place: Place, waited: str = "") -> tuple[str, str]:
    """Return what is to be said of an owner that does not answer, with how long it was `waited` for, and the remedy."""
    record = read(place.record)
    who, end, go_on = "another process", "kill -9", "kill -CONT"
    if record is not None and record.processes in (None, processes()):
        who, end = f"process {record.pid}", f"kill -9 {record.pid}"
    elif record is not None:
        # Its id is that of somebody else here.
        who, end, go_on = "a process of another container", "where it runs", "where it runs"
    if record is not None and _refuses(record):
        return f"{who} holds {place.lock} and takes no connections", f"It ends: wait until it has, or end it ({end})"
    remedy = f"It is stopped or stuck: let it go on ({go_on}), or end it ({end})"
    return f"{who} holds {place.lock} and does not answer{waited}", remedy


def _refuses(record: Record) -> bool:
    """Tell whether nobody listens at the port of an owner, which finishes what it has begun before it ends."""
    try:
        socket.create_connection(("127.0.0.1", record.port), _CONNECT_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def unusable(place: Place, error: OSError) -> Refused:
    """Return what to tell the user when the files of a place cannot be used."""
    if isinstance(error, Unfit):
        return refusal("storage_read_only", f"{error.filename} {error.reason}. {error.remedy}")
    folder = os.path.dirname(place.database)
    reason = f"{error.filename or folder} cannot be used by this user ({error.strerror})"
    return refusal("storage_read_only", f"{reason}. Give the user the right to write {folder}, or set TMWS_HOME")


def _check(link: Link) -> None:
    if link.welcome.get("tmws") == WIRE:
        return
    record = link.record
    where = f" at {record.url}" if record.url else ""
    message = f"Process {record.pid}{where} is TMWS {record.version}, which does not understand this one, {VERSION}"
    raise refusal("configuration", f"{message}. Stop it, or install the same version", "invalid")
