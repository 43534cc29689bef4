"""Starting the owner of a place where there is none."""

import os
import select
import sys
import time

from tmws_adapters.local.finding import Link, find, refusal, silent, unusable
from tmws_adapters.local.greeting import GREETING_BYTES, Refused, Silent, Stranger, parse, reason_in
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.place import Place
from tmws_adapters.private import open_regular, read_tail

OWNER = "tmws_mcp.owner"
"""The module that is run as the owner: a name, since adapters know no shell."""

START_SECONDS = 60.0
"""How long an owner may take to say that it listens: 0.2 s by measurement, on a machine that is not busy."""

REACH_GRACE_SECONDS = 15.0
"""How much longer than a request may take to try for an owner: one that ends finishes what runs first, and the next one
imports for a second, or for ten on a machine that is busy."""

STARTS = 5
"""How many owners are started before it is no use."""

FEW = 256
"""Descriptors that are looked at where the system does not list them; a shell hands down those below 256."""

POLL_SECONDS = 0.02
"""How often to look whether the process that holds the lock answers yet, or has ended."""

LOG_BYTES = 1024 * 1024
"""The size above which a log is set aside; one former log is kept."""


def reach(place: Place, wants: dict[str, object], *, seconds: float, replace: bool = False) -> Link:
    """Return a connection to the owner of a place, which is started where there is none; see `find`.

    A new one reads its settings from the environment of this process, which has to name this place.

    Raises:
        Refused: the owner refuses, or cannot be started; the error names the remedy.
        Silent: whoever holds the place has not answered within so many seconds or is elsewhere, or nobody has started.
    """
    deadline = time.monotonic() + seconds
    started = 0
    try:
        while (left := deadline - time.monotonic()) > 0:
            link = find(place, wants, replace=replace, seconds=left)
            if link is not None:
                return link
            if is_taken(place.lock):
                time.sleep(POLL_SECONDS)
            elif started < STARTS:
                started += 1
                start(place, min(START_SECONDS, left))
            else:
                raise refusal("unavailable", f"The service ended {STARTS} times while it started. {advice(place)}")
    except OSError as error:
        raise unusable(place, error) from None
    if is_taken(place.lock):
        raise silent(place, seconds)
    said = f"The service did not start within {seconds:g} seconds. {advice(place)}"
    raise Silent({"code": "unavailable", "message": said, "kind": "unavailable"})


def start(place: Place, seconds: float = START_SECONDS) -> None:
    """Start an owner, detached from this process, and wait until it listens, sees that there is another one, or dies.

    One that does nothing of that within so many seconds is left alone.

    Raises:
        Refused: it says why it cannot start.
        OSError: no process can be started, or its log is no regular file.
    """
    place.prepare()
    set_aside(place.log)
    log = open_regular(place.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    report, told = os.pipe()
    try:
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", OWNER, place.database],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, told, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                *((os.POSIX_SPAWN_CLOSE, each) for each in _handed_down()),
            ],
        )
    finally:
        os.close(told)
        os.close(log)
    deadline = time.monotonic() + seconds
    try:
        line = _line(report, deadline)
    finally:
        os.close(report)
        # It detaches itself by leaving a child behind, so that no zombie of it stays with this process.
        while os.waitpid(process, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    try:
        error = parse(line).get("error")
    except Stranger:  # it has died without a word, or says what it should not
        return
    if isinstance(error, dict):
        raise Refused(reason_in(error))


def advice(place: Place) -> str:
    """Say where the reason may be, with the last line of the log."""
    try:
        lines = read_tail(place.log, LOG_BYTES).decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f"See {place.log}, which ends with: {last[:500]}" if last else f"See {place.log}"


def set_aside(log: str) -> None:
    """Move a log that has grown large out of the way."""
    try:
        if os.path.getsize(log) > LOG_BYTES:
            os.replace(log, f"{log}.1")
    except FileNotFoundError:
        return


def _handed_down() -> list[int]:
    """Return what this process was given by the one that started it, as a script gives its locks and pipes.

    The owner outlives the script, and whoever waits for the end of such a pipe would wait for the owner.
    """
    try:
        found = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # a sandbox without /proc
        found = [*range(FEW)]
    return [each for each in found if each > 2 and _is_handed_down(each)]  # noqa: PLR2004 - stdin, stdout and stderr


def _is_handed_down(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # that of the listing itself
        return False


def _line(report: int, deadline: float) -> bytes:
    """Return what a starting owner says, or nothing if it ends silently, takes too long, or goes on and on."""
    line = b""
    while not line.endswith(b"\n") and len(line) <= GREETING_BYTES:
        readable, _, _ = select.select([report], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(report, 4096) if readable else b""
        if not chunk:
            break
        line += chunk
    return line
