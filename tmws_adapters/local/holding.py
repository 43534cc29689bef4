"""Becoming the owner of a place, and being it."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tmws_adapters.local.finding import PROOF_SECONDS, knock, refusal, unusable
from tmws_adapters.local.greeting import Refused, Stranger, new_nonce
from tmws_adapters.local.lock import is_taken, take
from tmws_adapters.local.place import Place
from tmws_adapters.local.presence import Presence
from tmws_adapters.local.record import Record, read, remove, write
from tmws_adapters.local.version import VERSION
from tmws_adapters.local.whereabouts import network, processes

GLANCE_SECONDS = 0.25
"""How long a new owner tries for the lock: whoever looks whether it is taken holds it for some microseconds."""

LOOKED_AT_SECONDS = 2.0
"""How much longer it tries where no owner holds the lock: a process that looks may be left without the processor."""

TAKEOVER_SECONDS = 120.0
"""How long a server waits for the owner that it replaces, which first finishes what runs: one request timeout."""

POLL_SECONDS = 0.005
"""How often to try for the lock: more often than any client looks whether it is free."""

BACKLOG = 256
"""Clients that wait to be accepted."""


class Holding:
    """The ownership of a place: a listening socket, and the record that tells where it is."""

    __slots__ = ("_database", "_files", "_place", "listener", "record")

    def __init__(self, listener: socket.socket, record: Record, place: Place) -> None:
        self.listener = listener
        self.record = record
        self._place = place
        self._files = Presence(place.lock, place.record)
        self._database = Presence()

    def keep_database(self) -> None:
        """Remember which file the database is, now that it is open."""
        self._database = Presence(self._place.database)

    def is_lost(self) -> bool:
        """Tell whether another process may own the database: the files that keep it away are gone, and that is not."""
        return not self._files.is_complete() and self._database.is_complete()


@contextmanager
def hold(place: Place) -> Iterator[Holding | None]:
    """Own a place for clients on this machine, or yield None where another process owns it.

    Raises:
        Refused: the files of the place cannot be used.
    """
    try:
        place.prepare()
        lock = _try(place, GLANCE_SECONDS)
        if lock is None and not is_taken(place.lock):
            lock = _try(place, LOOKED_AT_SECONDS)
    except OSError as error:
        raise unusable(place, error) from None
    if lock is None:
        yield None
        return
    with _held(place, lock, "owner", None) as holding:
        yield holding


@contextmanager
def replace(place: Place, url: str) -> Iterator[Holding]:
    """Own a place as the server at `url`; an owner that clients started is asked to stop, and finishes what it does.

    Raises:
        Refused: another server owns the place, the owner does not end or is elsewhere, or the files of the place cannot
            be used.
    """
    try:
        place.prepare()
        lock = _take_over(place)
    except OSError as error:
        raise unusable(place, error) from None
    with _held(place, lock, "server", url) as holding:
        yield holding


@contextmanager
def _held(place: Place, lock: int, kind: str, url: str | None) -> Iterator[Holding]:
    try:
        _write(lambda: remove(place.record), place)
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
            port = listener.getsockname()[1]
            record = Record(
                pid=os.getpid(),
                port=port,
                secret=new_nonce(),
                version=VERSION,
                kind=kind,
                url=url,
                network=network(),
                processes=processes(),
            )
            _write(lambda: write(place.record, record), place)
            try:
                yield Holding(listener, record, place)
            finally:
                # Where the directory was replaced, another owner may have written its own.
                found = read(place.record)
                if found is not None and found.secret == record.secret:
                    remove(place.record)
    finally:
        os.close(lock)


def _write(work: Callable[[], None], place: Place) -> None:
    try:
        work()
    except OSError as error:
        raise unusable(place, error) from None


def _take_over(place: Place) -> int:
    deadline = time.monotonic() + TAKEOVER_SECONDS
    while time.monotonic() < deadline:
        lock = _try(place, 0)
        if lock is not None:
            return lock
        _ask_to_stop(place, max(0.0, deadline - time.monotonic()))
        lock = _try(place, 1)
        if lock is not None:
            return lock
    raise refusal("unavailable", f"Another process holds {place.lock} and does not end. End it and try again")


def _ask_to_stop(place: Place, seconds: float) -> None:
    """Tell the owner to end; one that is stopped has so many seconds for its greeting and its answer, each."""
    link = knock(place, min(PROOF_SECONDS, seconds))
    if link is None:
        return
    record = link.record
    try:
        if record.kind == "server":
            where = f" is served by process {record.pid} at {record.url} already"
            message = f"{place.database}{where}. Use that one, stop it, or set TMWS_HOME to another directory"
            raise Refused({"code": "configuration", "message": message, "kind": "invalid"})
        link.speak({"speak": "stop"}, seconds)
    except (OSError, Stranger):
        return
    finally:
        link.socket.close()


def _try(place: Place, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while True:
        lock = take(place.lock)
        if lock is not None or time.monotonic() >= deadline:
            return lock
        time.sleep(POLL_SECONDS)
