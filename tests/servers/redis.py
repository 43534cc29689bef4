"""Redis servers for the tests: real ones, on free ports, ended with whoever started them."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.certificates import Certificates, certificates_in

PROGRAMS = ("redis-server", "valkey-server")

PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to clients, so that only another server can take one."""

PASSWORD = "correct/horse@battery:staple"
QUOTED = "correct%2Fhorse%40battery%3Astaple"

DATABASE = 1
"""The one that the URL of a server names."""

ATTEMPTS = 20
"""Between finding a free port and listening on it somebody else may take it."""

PATIENCE = 20
POLL = 0.005
"""Seconds until a server has to do what it was told, and between two looks."""

Options = dict[str, str | int]


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, and fail where it never comes true; a server that drops a connection is asked again."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(redis.exceptions.ConnectionError):
            if condition():
                return
        time.sleep(POLL)
    pytest.fail(f"never came true: {what}")


def program() -> str:
    """Return the server; without one the test is skipped, in CI it fails."""
    for name in PROGRAMS:
        path = shutil.which(name)
        if path:
            return path
    message = "redis-server is not installed"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@attrs.define(kw_only=True)
class RedisProcess:
    """One server; what it keeps on its disk outlives its process, and it listens on the same port again."""

    directory: Path
    port: int
    options: Options
    arguments: tuple[str, ...] = ()
    files: Certificates | None = None
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Return what TMWS_REDIS_URL has to be."""
        if self.files:
            return f"rediss://{self.where}/?ssl_ca_certs={self.files.authority}"
        return f"redis://{f':{QUOTED}@' if 'requirepass' in self.options else ''}{self.where}/{DATABASE}"

    def start(self) -> None:
        """Start the server, and wait until it answers; ChildProcessError if it ends."""
        self.launch()
        until(self._answers_or_ends, f"{self.where} answers")
        assert self._process is not None
        if self._process.poll() is not None:
            raise ChildProcessError((self.directory / "log").read_text())

    def launch(self) -> None:
        """Start the server, whether it answers or not."""
        listening: Options = {"port": self.port}
        if self.files:
            listening = {
                "port": 0,
                "tls-port": self.port,
                "tls-cert-file": str(self.files.certificate),
                "tls-key-file": str(self.files.key),
                "tls-ca-cert-file": str(self.files.authority),
                "tls-auth-clients": "no",
                "tls-replication": "yes",
            }
        lines = [f'{name} "{value}"' for name, value in {**listening, **self.options}.items()]
        configuration = self.directory / "server.conf"
        if not configuration.exists():  # a Sentinel keeps its memory there
            configuration.write_text("\n".join(lines) + "\n")
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), str(configuration), *self.arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the server, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server answer nothing during the block, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def send(self, *arguments: str | int) -> Any:
        """Run a command."""
        with self.client() as client:
            return client.execute_command(*arguments)

    def client(self, database: int = 0) -> "redis.Redis":
        """Return a client of the tests' own, which is closed with its block."""
        password = self.options.get("requirepass")
        return redis.Redis(
            host="127.0.0.1",
            port=self.port,
            db=database,
            password=None if password is None else str(password),
            socket_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
            ssl=self.files is not None,
            ssl_ca_certs=str(self.files.authority) if self.files else None,
            single_connection_client=True,
        )

    def _answers_or_ends(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        return bool(self.send("PING"))


@contextmanager
def redis_process(
    options: Options | None = None, *arguments: str, files: Certificates | None = None
) -> Iterator[RedisProcess]:
    """Start a server on a free port for the block."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="tmws-redis-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        for _ in range(ATTEMPTS):
            everything = {"save": "", "appendonly": "no", "bind": "127.0.0.1", "dir": directory, **(options or {})}
            server = RedisProcess(
                directory=directory,
                port=free_port(),
                options={name: str(value) for name, value in everything.items()},
                arguments=arguments,
                files=files,
            )
            stack.callback(server.stop)
            with suppress(ChildProcessError):
                server.start()
                break
            (directory / "server.conf").unlink()
        else:
            raise ChildProcessError((directory / "log").read_text())
        yield server


@contextmanager
def guarded_redis() -> Iterator[RedisProcess]:
    """Start a server that asks for a password."""
    with redis_process({"requirepass": PASSWORD}) as server:
        yield server


@contextmanager
def encrypted_redis() -> Iterator[RedisProcess]:
    """Start a server that speaks TLS only, with a certificate for 127.0.0.1."""
    with (
        tempfile.TemporaryDirectory(prefix="tmws-redis-tls-") as directory,
        redis_process(files=certificates_in(Path(directory))) as server,
    ):
        yield server


def free_port() -> int:
    """Return a port that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
