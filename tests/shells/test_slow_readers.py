"""Clients that send much and read little: what waits for one of them is bounded, and the others do not notice."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tests.shells.serving import MODERN, PATIENCE, conversation, request, tool
from tests.shells.test_large_answers import ERAS
from tests.stacks import settings_in
from tmws_adapters.bootstrap import open_app, rate_limiter
from tmws_adapters.inprocess import LruCache
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.memory import ALL, CreateMemory
from tmws_mcp.application import application
from tmws_mcp.calls import Calls
from tmws_mcp.endpoint import open_endpoint
from tmws_mcp.protocol import BoundedProtocol
from tmws_mcp.room import CALLS, TAKEN_BYTES, Room, most_in, most_of
from tmws_mcp.server import mcp_server
from tmws_mcp.session import Session
from tmws_mcp.sessions import Sessions
from tmws_mcp.wire import Wire

pytestmark = pytest.mark.anyio

LARGE = '"' * 60_000
"""Larger than a socket that is as small as can be holds, and, as JSON, than what HTTP takes as read."""


@attrs.define
class Begun:
    """A store with one large memory, and how many calls have begun to read it."""

    app: App
    caller: Caller
    memory_id: str
    number: int = 0

    def line(self, id_: int, speak: str) -> bytes:
        arguments = {"memory_id": self.memory_id, "max_chars": ALL}
        if speak == "mcp":
            return tool(id_, "get_memory", **arguments)
        return orjson.dumps({"id": id_, "operation": "get_memory", "arguments": arguments}) + b"\n"

    async def opened(self) -> App:
        return self.app

    def served(self, speak: str, wire: Wire) -> Calls | Session:
        """Return what serves a client that has room for one memory."""
        if speak == "calls":
            return Calls(wire=wire, app=self.app, caller=self.caller, timeout=PATIENCE, room=Room(1))

        server = mcp_server(self.opened, toolsets=("memory",), caller_of=lambda _: self.caller)
        return Session(wire=wire, server=server, operations=self.app.operations, timeout=PATIENCE, room=Room(1))


@pytest.fixture
async def begun(tmp_path: Path) -> AsyncIterator[Begun]:
    settings = settings_in(tmp_path / "home")
    async with open_app(settings) as app:
        caller = settings.agent()
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
    assert most_of(operations["list_memories"], {"limit": "7"}) == 7
    assert most_of(operations["list_memories"], None) == 20
    assert most_of(operations["list_memories"], '{"limit": 100}') == 100
    assert most_of(operations["create_memories"], '{"memories": []}') == 10
    assert most_of(operations["search_memories"], {}) == 10
    assert most_of(operations["get_memory"], {}) == 1
    assert most_of(operations["get_memory"], {"include_history": True}) == 100
    assert most_of(operations["create_memories"], {"memories": [{}] * 1000}) == 10
    assert most_of(operations["health_check"], {}) == most_of(None, {}) == most_in("tools/list", None, operations) == 0


ALIVE = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-agent: ada\r\nconnection: close\r\n\r\n"


def asked_over_http(begun: Begun, speak: str, agent: str) -> bytes:
    """Return a request whose answer may hold as much as one agent has room for."""
    arguments = {"memory_id": begun.memory_id, "include_history": True, "max_chars": ALL}
    head: dict[str, str] = {"host": "localhost", "connection": "close", "x-agent": agent}
    path, body = "/mcp/tools/get_memory", orjson.dumps(arguments)
    if speak != "rest":
        path, head = "/mcp", head | {"accept": "application/json, text/event-stream"} | ERAS[speak]
        body = request(1, "tools/call", name="get_memory", arguments=arguments, _meta=MODERN)
        if ERAS[speak]:
            head |= {"mcp-method": "tools/call", "mcp-name": "get_memory"}
    head |= {"content-type": "application/json", "content-length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def over_http(begun: Begun) -> AsyncIterator[Callable[[bytes], Awaitable[socket.socket]]]:
    """Serve HTTP, and give what sends a request on a connection of its own."""
    server = mcp_server(begun.opened, toolsets=("memory",), caller_of=lambda _: begun.caller)
    ends = ExitStack()
    async with open_endpoint(begun.app, server, Sessions(lambda: [b"key"], LruCache(1)), PATIENCE) as endpoint:
        served = application(begun.app, Settings(), endpoint, rate_limiter())

        async def known(scope: Scope, receive: Receive, send: Send) -> None:
            agent = dict(scope["headers"])[b"x-agent"].decode()
            scope["state"]["caller"] = attrs.evolve(begun.caller, agent_id=agent)
            await served(scope, receive, send)

        config = uvicorn.Config(known, http=BoundedProtocol, log_config=None, lifespan="off", ws="none")
        config.load()
        loop = asyncio.get_running_loop()

        async def send(sent: bytes) -> socket.socket:
            client, end = ends.enter_context(small_pair())
            protocol = BoundedProtocol(config, ServerState(), {})
            await loop.connect_accepted_socket(lambda: protocol, end)
            await loop.sock_sendall(client, sent)
            return client

        with ends:
            yield send


async def read_all(client: socket.socket) -> bytes:
    """Read until the server hangs up."""
    loop, read = asyncio.get_running_loop(), bytearray()
    while chunk := await loop.sock_recv(client, 65536):
        read += chunk
    return bytes(read)


def whole(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 200") and len(answer) > 2 * len(LARGE)


@pytest.mark.parametrize("speak", ["rest", *ERAS])
async def test_requests_of_an_agent_begin_when_it_has_read_or_hung_up(begun: Begun, speak: str) -> None:
    ada, bob = (asked_over_http(begun, speak, agent) for agent in ("ada", "bob"))
    with anyio.fail_after(PATIENCE):
        async with over_http(begun) as send:
            first, second, third = [await send(ada) for _ in range(3)]
            for _ in range(3):
                assert whole(await read_all(await send(bob)))
            assert (await read_all(await send(ALIVE))).startswith(b"HTTP/1.1 200")
            assert begun.number == 3 + 1
            assert whole(await read_all(first))
            second.close()
            assert whole(await read_all(third))
    assert begun.number == 3 + 3


@pytest.mark.embedded("a terminal talks to the owner of a directory")
def test_terminal_that_reads_late_gets_all_answers(tmp_path: Path) -> None:
    with conversation(tmp_path / "home") as terminal:
        terminal.ask(tool("store", "create_memories", memories=[{"content": f"{n} {LARGE}"} for n in range(5)]))
        terminal.send(*(tool(id_, "list_memories", max_chars=ALL) for id_ in range(12)))
        found = [terminal.receive() for _ in range(12)]
    assert sorted(answer["id"] for answer in found) == [*range(12)]
    assert all(len(answer["result"]["structuredContent"]["memories"]) == 5 for answer in found)


async def taken(begun: Begun, most: int, *lines: bytes) -> int:
    """Return how many lines are taken of a client that reads no answer, once so many are."""
    with small_pair() as (client, server):
        session = begun.served("mcp", Wire(server.fileno()))
        assert isinstance(session, Session)
        async with anyio.create_task_group() as work:
            work.start_soon(session.run)
            work.start_soon(Wire(client.fileno()).write, b"".join(lines))
            with anyio.fail_after(PATIENCE):
                while session.taken < most:
                    await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            work.cancel_scope.cancel()
    return session.taken


async def test_a_client_that_does_not_read_has_so_many_calls_taken(begun: Begun) -> None:
    assert await taken(begun, CALLS, *(begun.line(id_, "mcp") for id_ in range(CALLS + 5))) == CALLS


async def test_a_client_that_does_not_read_has_so_many_bytes_taken(begun: Begun) -> None:
    def padded(size: int) -> bytes:
        return tool(1, "get_memory", memory_id=begun.memory_id, agent_id="x" * size)

    long = padded(TAKEN_BYTES - len(padded(0)))
    assert await taken(begun, 2, begun.line(0, "mcp"), long, *(request(id_, "ping") for id_ in range(2, 5))) == 2


async def test_what_still_runs_at_the_end_of_the_input_has_no_longer_than_the_timeout(begun: Begun) -> None:
    async def run(*_: object) -> None:
        await anyio.sleep_forever()

    held = attrs.evolve(begun.app.operations["get_memory"], run=run)
    begun.app.operations = {**begun.app.operations, "get_memory": held}
    with small_pair() as (client, server):
        session = begun.served("mcp", Wire(server.fileno()))
        session.timeout = 0.1
        client.sendall(begun.line(1, "mcp"))
        client.shutdown(socket.SHUT_WR)
        with anyio.fail_after(PATIENCE):
            await session.run()


async def test_nothing_is_kept_of_what_was_answered(begun: Begun) -> None:
    with small_pair() as (client, server):
        session = begun.served("mcp", Wire(server.fileno()))
        assert isinstance(session, Session)
        async with anyio.create_task_group() as work:
            work.start_soon(session.run)
            wire = Wire(client.fileno())
            await wire.write(begun.line(1, "mcp"))
            assert await answers(wire, 1) == [1]
            await anyio.wait_all_tasks_blocked()
            assert not session._bulk  # noqa: SLF001 - nobody else asks what is kept
            work.cancel_scope.cancel()


async def test_what_is_taken_can_be_cancelled_while_no_more_is_taken(begun: Begun) -> None:
    cancel = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}\n'
    lines = [begun.line(id_, "mcp") for id_ in range(CALLS)]
    assert await taken(begun, CALLS, *lines, cancel) == CALLS + 1
