"""Nonsense over MCP: each is refused without a word of the inside, and the next proper call is answered in time."""

import json
import queue
import random
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import mcp_types as types
import pytest

from tests.fuzz.messages import VERSIONS, Messages
from tests.fuzz.world import HANG, SECONDS, World, bursts, leaks, prepare
from tests.shells.serving import Conversation, HttpServer, conversation, http_server, request, tool

FRAMES = 40
"""Messages of one burst."""

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}}

pytestmark = pytest.mark.timeout(SECONDS + 240)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return prepare(tmp_path / "home")


def check(answer: str, sent: str, seed: int) -> Any:
    """Return what an answer says; it is no accident, and tells nothing that its reader does not know."""
    assert not leaks(answer, sent), f"FUZZ_SEED={seed}: {answer[:2000]}"
    value = json.loads(answer)
    error = value.get("error") or {}
    assert error.get("code") not in (types.INTERNAL_ERROR, "internal"), f"FUZZ_SEED={seed}: {answer[:2000]}"
    assert '"internal"' not in answer, f"FUZZ_SEED={seed}: {answer[:2000]}"
    return value


@attrs.frozen
class Terminal:
    """An agent terminal, and what its server says."""

    talk: Conversation
    said: "queue.Queue[bytes]" = attrs.field(factory=queue.Queue)

    def listen(self) -> None:
        """Read until the server ends."""
        assert self.talk.process.stdout
        for line in self.talk.process.stdout:
            self.said.put(line)

    def burst(self, messages: Messages, seed: int) -> None:
        """Send nonsense and a proper call, and read until it is answered."""
        frames = [messages.frame() for _ in range(FRAMES)]
        lines = [frame if messages.random.random() < 0.1 else frame.replace(b"\n", b" ") for frame in frames]
        proper = f"proper-{seed}"
        self.talk.send(*(line + b"\n" for line in lines), tool(proper, "search_memories", query="ordinary"))
        sent = b"".join(lines).decode("utf-8", "replace")
        while True:
            try:
                value = check(self.said.get(timeout=HANG).decode(), sent, seed)
            except queue.Empty:
                pytest.fail(f"FUZZ_SEED={seed}: no answer in {HANG} seconds")
            assert value["jsonrpc"] == "2.0"
            if value.get("id") == proper:
                assert value["result"]["structuredContent"]["success"], f"FUZZ_SEED={seed}"
                return


@pytest.mark.parametrize("greets", [True, False])
def test_stdio(world: World, greets: bool) -> None:  # noqa: FBT001 - a parameter of the test
    settings = {"TMWS_AGENT_ID": "stranger", "TMWS_AGENT_NAMESPACE": "elsewhere"}
    with conversation(world.home, **settings) as talk:
        terminal = Terminal(talk)
        reading = threading.Thread(target=terminal.listen)
        reading.start()
        if greets:
            talk.send(request("hello", "initialize", **HELLO))
            assert "result" in json.loads(terminal.said.get(timeout=HANG))
        else:
            talk.send(request("hello", "ping"))
        for seed in bursts(SECONDS / 2):
            terminal.burst(Messages(random.Random(seed), world.hidden), seed)
        talk.process.kill()
        reading.join()


@pytest.fixture
def server(world: World) -> Iterator[HttpServer]:
    with http_server(world.home, **world.settings) as running:
        yield running
        assert "Traceback" not in running.stop()


@attrs.frozen
class Web:
    """A client that sends many requests at once."""

    client: httpx.AsyncClient
    messages: Messages
    seed: int

    async def burst(self) -> None:
        """Send nonsense, all at once, and then a proper call."""
        session = await self._session()
        async with anyio.create_task_group() as tasks:
            for _ in range(FRAMES):
                tasks.start_soon(self._nonsense, self.messages.frame(), self._headers(session), self._method())
        call = json.loads(tool("proper", "search_memories", query="ordinary"))
        answer = await self.client.post("/mcp", json=call, headers=JSON)
        assert answer.json()["result"]["structuredContent"]["success"], f"FUZZ_SEED={self.seed}: {answer.text}"

    async def _session(self) -> str:
        hello = json.loads(request("hello", "initialize", **HELLO))
        answer = await self.client.post("/mcp", json=hello, headers=JSON)
        return str(answer.headers["mcp-session-id"])

    async def _nonsense(self, body: bytes, headers: dict[str, str], method: str) -> None:
        if method != "POST":
            headers["mcp-session-id"] = "nobody's"
        answer = await self.client.request(method, "/mcp", content=body, headers=headers)
        where = f"FUZZ_SEED={self.seed}: {method} {headers} {body[:500]!r}: {answer.status_code} {answer.text[:2000]}"
        assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, where
        assert not leaks(str(answer.headers)), where
        if answer.content and method != "HEAD":
            check(answer.text, body.decode("utf-8", "replace"), self.seed)

    def _headers(self, session: str) -> dict[str, str]:
        chance = self.messages.random
        sessions: tuple[dict[str, str], ...] = (
            {},
            {"mcp-session-id": session},
            {"mcp-session-id": chance.choice(("", "x" * 5000, "0" * 32))},
        )
        versions: tuple[dict[str, str], ...] = ({}, {}, {"mcp-protocol-version": chance.choice(VERSIONS)})
        kinds = (JSON, JSON, JSON, {"content-type": "text/plain"}, {"accept": "text/html"}, {"content-type": ";;="})
        return {**chance.choice(kinds), **chance.choice(versions), **chance.choice(sessions)}

    def _method(self) -> str:
        return self.messages.random.choice(("POST",) * 12 + ("GET", "DELETE", "PUT", "HEAD"))


@pytest.mark.anyio
async def test_http(world: World, server: HttpServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=HANG, trust_env=False, headers=world.headers) as client:
        for seed in bursts():
            try:
                await Web(client, Messages(random.Random(seed), world.hidden), seed).burst()
            except BaseException as error:
                error.add_note(f"FUZZ_SEED={seed}")
                raise
