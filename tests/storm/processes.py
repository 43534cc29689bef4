"""Processes that are killed and stopped, and what each of them holds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

import attrs

from tests.servers.redis import free_port
from tests.shells.owners import POLL, place_in
from tests.shells.serving import HTTP, environment
from tests.storm.model import Model
from tests.storm.ways import STUCK
from tmws_adapters.local.lock import is_taken
from tmws_adapters.local.record import read

FILES = 400
THREADS = 150
"""What a process may hold at most when nobody asks it anything: a pool of connections and of threads for itself."""


@contextmanager
def handle(pid: int, holds: str) -> Iterator[int]:
    """Yield a descriptor of a process, if it is one whose command line holds a text: numbers are given again.

    Raises:
        ProcessLookupError: it is another one, or there is none.
    """
    descriptor = os.pidfd_open(pid)
    try:
        with suppress(FileNotFoundError):
            if holds.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "):
                yield descriptor
                return
        raise ProcessLookupError(pid)
    finally:
        os.close(descriptor)


def kill(pid: int, holds: str, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal to a process; false where it has ended."""
    with suppress(ProcessLookupError), handle(pid, holds) as process:
        signal.pidfd_send_signal(process, number)
        return True
    return False


def stop_for(seconds: float, pid: int, holds: str) -> bool:
    """Let a process do nothing for a time."""
    with suppress(ProcessLookupError), handle(pid, holds) as process:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGCONT)
        return True
    return False


def owner_pid(home: Path) -> int | None:
    """Return the process that owns a data directory, if there is one."""
    place = place_in(home)
    record = read(place.record) if is_taken(place.lock) else None
    return None if record is None else record.pid


def check_holdings(model: Model, name: str, pid: int) -> None:
    """Check how many files and threads a process has open."""
    with suppress(FileNotFoundError, ProcessLookupError):
        files = len([*Path(f"/proc/{pid}/fd").iterdir()])
        threads = len([*Path(f"/proc/{pid}/task").iterdir()])
        kind = name.rstrip("0123456789 ")
        model.most(f"most files of a {kind}", files)
        model.most(f"most threads of a {kind}", threads)
        if files > FILES or threads > THREADS:
            model.violate("growth", f"{name} holds {files} files and {threads} threads")


@attrs.define
class Server:
    """An HTTP server that listens at the same port each time that it is started.

    The kernel gives it to no other server meanwhile, whose answers would be taken for its own.
    """

    home: Path
    settings: Mapping[str, str]
    model: Model
    log: IO[bytes]
    port: int = attrs.Factory(free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it if it does not run."""
        if self.runs:
            return
        self.process = subprocess.Popen(
            HTTP,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            cwd=self.home,
            env=environment(self.home, **self.settings, TMWS_PORT=str(self.port)),
        )

    def wait(self) -> None:
        """Start it as often as it takes, and wait until it is ready."""
        deadline = time.monotonic() + STUCK
        while time.monotonic() < deadline:
            self.start()
            if self._is_ready():
                return
            time.sleep(POLL)
        self.model.violate("stuck", f"the server at {self.url} does not get ready")

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=STUCK)
        with closing(connection), suppress(OSError, HTTPException):
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == HTTPStatus.OK
        return False

    def kill(self) -> bool:
        if self.process is None:
            return False
        self.process.kill()
        self.process.wait()
        self.process = None
        return True

    def terminate(self) -> None:
        """Ask it to end."""
        if self.process is None:
            return
        self.process.terminate()
        wait_for(self.model, self.process, f"the server at {self.url}")
        self.process = None


def wait_for(model: Model, process: "subprocess.Popen[bytes]", name: str) -> None:
    """Wait until a process ends."""
    try:
        process.wait(STUCK)
    except subprocess.TimeoutExpired:
        model.violate("stuck", f"{name} does not end")
        process.kill()
        process.wait()


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tmws_cli", *arguments]
