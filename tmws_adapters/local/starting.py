"""Starting the owner of a place where there is none."""

import os
import select
import sys
import time

from tmws_adapters.local.finding import Link, find, refusal, unusable
from tmws_adapters.local.greeting import Refused, Stranger, parse
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.place import Place

OWNER = "tmws_mcp.owner"
"""The module that is run as the owner: a name, since adapters know no shell."""

START_SECONDS = 60.0
"""How long an owner may take to say that it listens: 0.2 s by measurement, on a machine that is not busy."""

REACH_SECONDS = 120.0
"""How long to try: an owner that ends may finish what runs first, for one request timeout."""

STARTS = 5
"""How many owners are started before it is no use."""

POLL_SECONDS = 0.02
"""How often to look whether the process that holds the lock answers yet, or has ended."""

LOG_BYTES = 1024 * 1024
"""The size above which a log is set aside; one former log is kept."""


def reach(place: Place, wants: dict[str, object], *, replace: bool = False) -> Link:
    """Return a connection to the owner of a place, which is started where there is none; see `find`.

    A new one reads its settings from the environment of this process, which has to name this place.

    Raises:
        Refused: the owner refuses, cannot be started, or does not answer; the error names the remedy.
    """
    deadline = time.monotonic() + REACH_SECONDS
    started = 0
    try:
        while time.monotonic() < deadline:
            link = find(place, wants, replace=replace)
            if link is not None:
                return link
            if is_taken(place.lock):
                time.sleep(POLL_SECONDS)
            elif started < STARTS:
                started += 1
                start(place)
            else:
                raise refusal("unavailable", f"The service ended {STARTS} times while it started. {advice(place)}")
    except OSError as error:
        raise unusable(place, error) from None
    raise refusal("unavailable", f"Another process holds {place.lock} and does not answer. End it and try again")


def start(place: Place) -> None:
    """Start an owner, detached from this process, and wait until it listens, sees that there is another one, or dies.

    Raises:
        Refused: it says why it cannot start.
        OSError: no process can be started.
    """
    place.prepare()
    set_aside(place.log)
    report, told = os.pipe()
    log = os.open(place.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", OWNER, place.database],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, told, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
        )
    finally:
        os.close(told)
        os.close(log)
    try:
        line = _line(report)
    finally:
        os.close(report)
        # It detaches itself by leaving a child behind, so that no zombie of it stays with this process.
        os.waitpid(process, 0)
    try:
        error = parse(line).get("error")
    except Stranger:  # it has died without a word, or says what it should not
        return
    if isinstance(error, dict):
        raise Refused(error)


def advice(place: Place) -> str:
    """Say where the reason may be, with the last line of the log."""
    try:
        with open(place.log, encoding="utf-8", errors="replace") as file:
            lines = file.read()[-LOG_BYTES:].split("\n")
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


def _line(report: int) -> bytes:
    """Return what a starting owner says, or nothing if it ends silently or takes too long."""
    line = b""
    deadline = time.monotonic() + START_SECONDS
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([report], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(report, 4096) if readable else b""
        if not chunk:
            break
        line += chunk
    return line
