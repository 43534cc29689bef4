"""Clients that send much and read little: what waits for one of them is bounded, and the others do not notice."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import orjson
import pytest

from tests.shells.serving import PATIENCE, conversation, request, tool
from tests.stacks import settings_in
from tmws_adapters.bootstrap import open_app
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.memory import CreateMemory
from tmws_mcp.calls import Calls
from tmws_mcp.room import CALLS, Room, most_of
from tmws_mcp.server import mcp_server
from tmws_mcp.session import Session
from tmws_mcp.wire import Wire

pytestmark = pytest.mark.anyio

LARGE = "x" * 60_000
"""More than the buffers of a socket hold when they are as small as they can be."""


@attrs.define
class Begun:
    """A store with one large memory, and how many calls have begun to read it."""

    app: App
    caller: Caller
    memory_id: str
    number: int = 0

    def line(self, id_: int, speak: str) -> bytes:
        arguments = {"memory_id": self.memory_id}
        if speak == "mcp":
            return tool(id_, "get_memory", **arguments)
        return orjson.dumps({"id": id_, "operation": "get_memory", "arguments": arguments}) + b"\n"

    def served(self, speak: str, wire: Wire) -> Calls | Session:
        """Return what serves a client that has room for one memory."""
        if speak == "calls":
            return Calls(wire=wire, app=self.app, caller=self.caller, timeout=PATIENCE, room=Room(1))

        async def opened() -> App:
            return self.app

        server = mcp_server(opened, toolsets=("memory",), caller_of=lambda _: self.caller)
        return Session(wire=wire, server=server, operations=self.app.operations, timeout=PATIENCE, room=Room(1))


@pytest.fixture
async def begun(tmp_path: Path) -> AsyncIterator[Begun]:
    settings = settings_in(tmp_path / "home")
    async with open_app(settings) as app:
        caller = settings.agent("test")
        created = await app.call(caller, CreateMemory(content=LARGE))
        counted = Begun(app, caller, created.memory_id)
        operation = app.operations["get_memory"]

        async def run(*arguments: Any) -> Any:
            counted.number += 1
            return await operation.run(*arguments)

        app.operations = {**app.operations, "get_memory": attrs.evolve(operation, run=run)}
        yield counted


@contextmanager
def small_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return a client's end and a server's, which hold little between them."""
    client, server = socket.socketpair()
    with closing(client), closing(server):
        for end in (client, server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            end.setblocking(False)  # noqa: FBT003 - the socket module's signature
        yield client, server


@asynccontextmanager
async def connected(begun: Begun, speak: str, *lines: bytes, patience: float = PATIENCE) -> AsyncIterator[Wire]:
    """Serve a client that has sent lines, and return its end."""
    with small_pair() as (client, server):
        async with anyio.create_task_group() as work:
            work.start_soon(begun.served(speak, Wire(server.fileno(), patience)).run)
            wire = Wire(client.fileno())
            await wire.write(b"".join(lines))
            yield wire
            client.shutdown(socket.SHUT_WR)


async def answers(wire: Wire, number: int) -> list[Any]:
    """Return the ids of so many answers."""
    found = []
    async with aclosing(wire.lines(1_000_000)) as lines:
        async for line in lines:
            found.append(orjson.loads(line or b"")["id"])
            if len(found) == number:
                break
    return sorted(found, key=str)


@pytest.mark.parametrize("speak", ["calls", "mcp"])
async def test_calls_begin_when_the_answers_before_them_are_read(begun: Begun, speak: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with connected(begun, speak, *(begun.line(id_, speak) for id_ in range(10))) as slow:
            async with connected(begun, speak, *(begun.line(id_, speak) for id_ in range(10))) as quick:
                assert await answers(quick, 10) == [*range(10)]
            assert begun.number == 10 + 1
            assert await answers(slow, 10) == [*range(10)]
    assert begun.number == 20


async def test_what_waits_for_room_can_be_cancelled(begun: Begun) -> None:
    cancel = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}\n'
    lines = [begun.line(id_, "mcp") for id_ in range(CALLS)]
    with anyio.fail_after(PATIENCE):
        async with connected(begun, "mcp", *lines, cancel, request("last", "ping")) as wire:
            ids = await answers(wire, CALLS)
    assert ids == sorted([*(id_ for id_ in range(CALLS) if id_ != 5), "last"], key=str)
    assert begun.number == CALLS - 1


@pytest.mark.parametrize("speak", ["calls", "mcp"])
async def test_client_that_never_reads_is_hung_up_on(begun: Begun, speak: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with connected(begun, speak, begun.line(1, speak), begun.line(2, speak), patience=0.1):
            pass
    assert begun.number == 1


async def test_answers_count_as_what_they_may_hold(begun: Begun) -> None:
    operations = begun.app.operations
    assert most_of(operations["list_memories"], {"limit": 100}) == 100
    assert most_of(operations["list_memories"], {"limit": 10**9}) == 100
    assert most_of(operations["list_memories"], {"limit": "7"}) == 1
    assert most_of(operations["list_memories"], None) == 20
    assert most_of(operations["search_memories"], {}) == 10
    assert most_of(operations["get_memory"], {}) == 1
    assert most_of(operations["get_memory"], {"include_history": True}) == 100
    assert most_of(operations["create_memories"], {"memories": [{}] * 1000}) == 10
    assert most_of(operations["health_check"], {}) == most_of(None, {}) == 0


@pytest.mark.embedded("a terminal talks to the owner of a directory")
def test_terminal_that_reads_late_gets_all_answers(tmp_path: Path) -> None:
    with conversation(tmp_path / "home") as terminal:
        terminal.ask(tool("store", "create_memories", memories=[{"content": f"{n} {LARGE}"} for n in range(5)]))
        terminal.send(*(tool(id_, "list_memories") for id_ in range(12)))
        found = [terminal.receive() for _ in range(12)]
    assert sorted(answer["id"] for answer in found) == [*range(12)]
    assert all(len(answer["result"]["structuredContent"]["memories"]) == 5 for answer in found)
