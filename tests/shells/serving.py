"""Real servers for tests: `python -m tests.shells.serving` serves HTTP as its environment says, and prints its URL."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx

from tests.licences import UNLIMITED
from tests.stacks import stacked
from tmws_adapters.logs import configure_logging
from tmws_adapters.settings import load_settings

ROOT = Path(__file__).parents[2]
MODULE = "tests.shells.serving"
PATIENCE = 60
"""Seconds after which something hangs, however slow the machine."""

HTTP = [sys.executable, "-m", MODULE]
STDIO = [sys.executable, "-m", "tmws_cli"]

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
"""What a client of the newest version says with each request."""


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a server: no setting but these and an unlimited licence, and no `.env` in its home.

    The owner behind it ends with it.
    """
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TMWS_", "PYTHONPATH"))}
    own = {"PYTHONPATH": str(ROOT), "TMWS_HOME": str(home), "TMWS_OWNER_IDLE_SECONDS": "0"}
    return {**kept, **stacked({**own, **UNLIMITED, **settings})}


def request(id_: int | str, method: str, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode() + b"\n"


def tool(id_: int | str, name: str, **arguments: object) -> bytes:
    return request(id_, "tools/call", name=name, arguments=arguments)


@attrs.frozen
class Finished:
    """A stdio server that has seen the end of its input."""

    code: int
    answers: list[dict[str, Any]]
    stderr: str

    def answer(self, id_: int | str | None) -> dict[str, Any]:
        [found] = [answer for answer in self.answers if answer["id"] == id_]
        return found

    def content(self, id_: int | str) -> dict[str, Any]:
        """Return what a tool answered."""
        found: dict[str, Any] = self.answer(id_)["result"]["structuredContent"]
        return found


def run_stdio(home: Path, *lines: bytes, **settings: str) -> Finished:
    """Give a stdio server its whole input at once."""
    done = subprocess.run(
        STDIO,
        input=b"".join(lines),
        capture_output=True,
        cwd=home,
        env=environment(home, **settings),
        timeout=PATIENCE,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return Finished(done.returncode, answers, done.stderr.decode())


@attrs.frozen
class Conversation:
    """A stdio server that waits for the next line."""

    process: "subprocess.Popen[bytes]"

    def send(self, *lines: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, line: bytes) -> dict[str, Any]:
        self.send(line)
        return self.receive()


@contextmanager
def conversation(home: Path, **settings: str) -> Iterator[Conversation]:
    with subprocess.Popen(
        STDIO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env=environment(home, **settings),
    ) as process:
        try:
            yield Conversation(process)
        finally:
            process.kill()


@attrs.frozen
class HttpServer:
    """A server that listens, and a client for it."""

    url: str
    client: httpx.Client
    process: "subprocess.Popen[str]"

    def call(self, name: str, /, **arguments: object) -> httpx.Response:
        return self.client.post(f"/mcp/tools/{name}", json=arguments)

    def stop(self) -> str:
        """End the server and return its log."""
        self.process.terminate()
        return self.log()

    def log(self) -> str:
        """Return the log of a server that has been told to end."""
        _, log = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, log
        return log


@contextmanager
def http_server(home: Path, **settings: str) -> Iterator[HttpServer]:
    with subprocess.Popen(
        HTTP,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env=environment(home, **{"TMWS_PORT": "0", **settings}),
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            url = process.stdout.readline().strip()
            assert url, process.stderr.read()
            with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
                yield HttpServer(url, client, process)
        finally:
            process.kill()


def main() -> None:
    """Serve HTTP, and print the URL."""
    settings = load_settings()
    configure_logging(settings)
    from tmws_mcp.http import serve_http  # noqa: PLC0415

    async def serve() -> None:
        await serve_http(settings, ready=lambda url: print(url, flush=True))  # noqa: T201 - for who started it

    anyio.run(serve)


if __name__ == "__main__":
    main()
