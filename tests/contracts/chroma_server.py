"""A real Chroma server on a loopback port, which can be stopped and started again."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import httpx

START_SECONDS = 60
"""Where nothing else runs, a server takes 2 to 4 s to start."""

POLL_SECONDS = 0.05


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.define(eq=False)
class ChromaServer:
    directory: Path
    port: int = attrs.field(factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(self.directory)]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, "the Chroma server did not start"
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the Chroma server ended with {self._process.wait(POLL_SECONDS)}")

    def stop(self) -> None:
        """Kill it, which leaves open connections without a farewell."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v2/heartbeat", timeout=1, trust_env=False).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def running_server(directory: Path) -> Iterator[ChromaServer]:
    server = ChromaServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
