"""Looking at the owner of a data directory from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.shells.serving import PATIENCE, environment
from tests.stacks import settings_in
from tmws_adapters.local.greeting import new_nonce, proof_of
from tmws_adapters.local.holding import Holding, hold
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.place import Place
from tmws_adapters.local.record import Record, read

POLL = 0.01
"""Seconds between two looks at a condition."""


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, and fail where it never comes true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(POLL)


def place_in(home: Path) -> Place:
    """Return where the owner of a data directory, or its helper, has its files."""
    return Place(str(settings_in(home).place))


def owner_of(home: Path) -> Record:
    """Return what the running owner has written down."""
    place = place_in(home)
    record = read(place.record)
    assert record is not None
    assert is_taken(place.lock)
    return record


def log_of(home: Path) -> str:
    return Path(place_in(home).log).read_text(encoding="utf-8")


def is_owned(home: Path) -> bool:
    return is_taken(place_in(home).lock)


def kill_owner(home: Path) -> None:
    """Kill the owner, and wait until the kernel has freed what it held."""
    os.kill(owner_of(home).pid, signal.SIGKILL)
    until(lambda: not is_owned(home))


@contextmanager
def another_owner(home: Path, *, version: str = "2.9.9", wire: int = 1, **settings: str) -> Iterator[Record]:
    """Run an owner as another version of TMWS would."""
    patch = f"version.VERSION = {version!r}; greeting.WIRE = {wire}"
    code = f"from tmws_adapters.local import greeting, version; {patch}; from tmws_mcp.owner import main; main()"
    place = place_in(home)
    started = subprocess.run(
        [sys.executable, "-P", "-c", code, place.database],
        env=environment(home, **settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=True,
    )
    assert json.loads(started.stdout) == {"ok": True}
    record = owner_of(home)
    try:
        yield record
    finally:
        left = read(place.record)
        if left is not None and left.pid == record.pid:
            with suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGKILL)
            until(lambda: not is_owned(home))


@attrs.frozen
class Raw:
    """A connection to an owner, byte by byte."""

    socket: socket.socket
    record: Record

    def send(self, message: object) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None if the owner has hung up."""
        line = b""
        while not line.endswith(b"\n"):
            try:
                byte = self.socket.recv(1)
            except ConnectionError:
                byte = b""
            if not byte:
                return None
            line += byte
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, message: object) -> dict[str, Any]:
        self.send(message)
        answer = self.receive()
        assert answer is not None
        return answer

    def greet(self, secret: str | None = None, **wants: object) -> dict[str, Any] | None:
        """Greet like a client that knows the secret, or believes that it does."""
        hers = new_nonce()
        his = self.ask({"tmws": 1, "nonce": hers})["nonce"]
        self.send({"proof": proof_of(secret or self.record.secret, "client", hers, his), **wants})
        return self.receive()


@contextmanager
def raw(home: Path) -> Iterator[Raw]:
    record = owner_of(home)
    with socket.create_connection(("127.0.0.1", record.port), PATIENCE) as connection:
        yield Raw(connection, record)


@attrs.frozen
class Scripted:
    """An owner whose part the test plays; its client is greeted when it is first needed, and again after `hang_up`."""

    holding: Holding
    timeout: float = 60.0
    _connections: list[Raw] = attrs.field(factory=list)

    def send(self, message: object) -> None:
        self._client.send(message)

    def receive(self) -> dict[str, Any] | None:
        return self._client.receive()

    def hang_up(self) -> None:
        while self._connections:
            self._connections.pop().socket.close()

    @property
    def _client(self) -> Raw:
        if not self._connections:
            connection, _ = self.holding.listener.accept()
            client = Raw(connection, self.holding.record)
            self._connections.append(client)
            hello = client.receive()
            assert hello is not None
            his = new_nonce()
            proof = proof_of(client.record.secret, "owner", hello["nonce"], his)
            client.ask({"tmws": 1, "nonce": his, "proof": proof, "version": client.record.version})
            client.send({"ok": True, "repeatable": [], "timeout": self.timeout})
        return self._connections[0]


@contextmanager
def scripted_owner(home: Path, timeout: float = 60.0) -> Iterator[Scripted]:
    with hold(place_in(home)) as holding:
        assert holding is not None
        owner = Scripted(holding, timeout)
        yield owner
        owner.hang_up()
