"""How long one connection may take, how much of it is held, and how many there may be."""

import asyncio
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import anyio
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tests.shells.serving import PATIENCE
from tests.shells.test_hardening import ALIVE, HOST, connect, exchange, read_all, refusal, send_as_far_as_possible
from tmws_mcp import protocol
from tmws_mcp.protocol import BoundedProtocol, connection_limit

LARGE = b"x" * (32 * 1024 * 1024)

ASKED: list[str] = []
"""The paths that `echo` was asked for."""


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/large` with much, `/echo` with the body, and anything else at once, without reading the body."""
    ASKED.append(scope["path"])
    body = LARGE if scope["path"] == "/large" else b"ok"
    if scope["path"] == "/echo":
        messages = [await receive()]
        while messages[-1]["more_body"]:
            messages.append(await receive())
        body = b"".join([b"<", *(message["body"] for message in messages), b">"])
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def running(*proxies: str) -> Iterator[tuple[str, uvicorn.Server]]:
    """Run the protocol around `echo` in a thread."""
    config = uvicorn.Config(
        echo,
        port=0,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        forwarded_allow_ips=list(proxies),
    )
    config.timeout_keep_alive = PATIENCE
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "STALL_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(protocol, name, 0.3)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sent", [b"", b"\r\n", b"G", ALIVE])
def test_unfinished_headers_end_the_connection(sent: bytes) -> None:
    with running() as (url, _), closing(connect(url)) as connection:
        connection.sendall(sent)
        first = read_all(connection)
        assert not first or refusal(first) == (408, "timeout")
    with running() as (url, _), closing(connect(url)) as connection:
        connection.sendall(ALIVE + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(sent or b"\r\n")
        assert read_all(connection).count(b"HTTP/1.1 ") <= 1


def drip(connection: socket.socket) -> bytes:
    """Send a byte now and then until something comes back or the server hangs up, and return what came back."""
    connection.settimeout(0.05)
    for _ in range(100):
        try:
            connection.sendall(b"x")
            return connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    pytest.fail("the server waits and waits")


@pytest.mark.usefixtures("quick")
def test_headers_that_drip_end_the_connection() -> None:
    with running() as (url, _), closing(connect(url)) as connection:
        connection.sendall(b"GET /")
        assert drip(connection).startswith(b"HTTP/1.1 408")


@pytest.mark.usefixtures("quick")
def test_body_that_drips_after_its_answer_ends_the_connection() -> None:
    with running() as (url, _), closing(connect(url)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 1000000\r\n\r\n")
        answer = b""
        while not answer.endswith(b"ok"):
            answer += connection.recv(65536)
        assert drip(connection) == b""


@pytest.mark.usefixtures("quick")
def test_body_that_floods_after_its_answer_ends_the_connection() -> None:
    with running() as (url, server), closing(connect(url)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 1000000000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        send_as_far_as_possible(connection, b"x" * 1_000_000_000)
        assert not server.server_state.connections


@pytest.mark.usefixtures("quick")
def test_answer_that_nobody_reads_is_given_up() -> None:
    with running() as (url, server), closing(connect(url)) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        assert connection.recv(1)
        held = threading.Event()
        while server.server_state.connections:
            held.wait(0.02)
        assert len(read_all(connection)) < len(LARGE)


def unconnected() -> tuple[BoundedProtocol, socket.socket, socket.socket]:
    """Return a protocol that answers as `echo` does, and both ends of a connection that it may be given."""
    config = uvicorn.Config(echo, http=BoundedProtocol, log_config=None, lifespan="off", ws="none")
    config.load()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
    return BoundedProtocol(config, ServerState(), {}), ours, theirs


@pytest.mark.anyio
async def test_slow_reader_gets_all_of_a_long_answer() -> None:
    """The protocol is called as its timer calls it, however long the reading takes."""
    connection, ours, theirs = unconnected()
    loop = asyncio.get_running_loop()
    with closing(ours), anyio.fail_after(PATIENCE):
        transport, _ = await loop.connect_accepted_socket(lambda: connection, theirs)
        await loop.sock_sendall(ours, b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        received = len(await loop.sock_recv(ours, 1))
        while (unread := transport.get_write_buffer_size()) >= protocol.STALL_BYTES:
            while unread - transport.get_write_buffer_size() < protocol.STALL_BYTES:
                received += len(await loop.sock_recv(ours, 4096))
            connection._look(unread)  # noqa: SLF001
            assert not transport.is_closing()
        while received < len(LARGE):
            received += len(await loop.sock_recv(ours, protocol.STALL_BYTES))
        transport.abort()


def test_one_address_has_half_of_the_connections_and_a_proxy_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "connection_limit", lambda: 4)
    for proxies, held in ((), 2), (("127.0.0.1",), 4):
        with running(*proxies) as (url, _):
            connections = [connect(url) for _ in range(held)]
            for connection in connections:
                connection.sendall(ALIVE + b"\r\n")
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            with closing(connect(url)) as refused:
                refused.sendall(ALIVE + b"\r\n")
                assert refusal(read_all(refused)) == (503, "overloaded")
            connections.pop().close()
            assert any(
                exchange(url, ALIVE + b"connection: close\r\n\r\n").startswith(b"HTTP/1.1 200") for _ in range(50)
            )
            for connection in connections:
                connection.close()


def test_connections_leave_half_of_the_files_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, limit in (1024, 512), (1_000_000, 4096), (resource.RLIM_INFINITY, 4096):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connection_limit() == limit


def ask(url: str, *, connections: int) -> None:
    """Ask on so many connections, so that whatever can run meanwhile has run."""
    for _ in range(connections):
        assert exchange(url, ALIVE + b"connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")


def read(connection: socket.socket, least: int) -> None:
    """Read so many bytes at least."""
    while least > 0:
        chunk = connection.recv(1024 * 1024)
        assert chunk
        least -= len(chunk)


def test_pipelined_request_begins_when_the_answer_before_it_is_read() -> None:
    ASKED.clear()
    with running("127.0.0.1") as (url, _), closing(connect(url)) as connection:
        connection.sendall((b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n") * 3)
        assert connection.recv(1)
        ask(url, connections=5)
        assert ASKED.count("/large") == 1
        read(connection, 3 * len(LARGE))
        assert ASKED.count("/large") == 3


OFFERS = {
    "java": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n",
    "websocket": b"upgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n",
    "several": b"Upgrade: h2c\r\nConnection: upgrade\r\nUpgrade: TLS/1.3,\twebsocket \r\n",
}


@pytest.mark.anyio
@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_an_offer_of_another_protocol_changes_nothing(offer: bytes, piece: int) -> None:
    """The pieces are those of the protocol's own calls, so that no network puts them together."""
    post = b"POST /echo HTTP/1.1\r\n" + HOST + offer
    sent = b"".join(
        [
            post + b"Content-Length: 14\r\n\r\n" + b"GET / HTTP/1.1",
            post + b"Transfer-Encoding: chunked\r\n\r\n" + b"3\r\none\r\n4\r\n two\r\n0\r\nUpgrade: h2c\r\n\r\n",
            post + b"\r\n",
            b"GET /echo?a=b%20c HTTP/1.1\r\n" + HOST + offer + b"\r\n",
            b"POST /echo HTTP/1.0\r\n" + HOST + offer + b"Content-Length: 5\r\n\r\nended",
        ]
    )
    connection, ours, theirs = unconnected()
    loop = asyncio.get_running_loop()
    with closing(ours), anyio.fail_after(PATIENCE):
        await loop.connect_accepted_socket(lambda: connection, theirs)
        for start in range(0, len(sent), piece):
            connection.data_received(sent[start : start + piece])
        answer = b""
        while chunk := await loop.sock_recv(ours, 65536):
            answer += chunk
    bodies = [each.partition(b"\r\n\r\n")[2] for each in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"<GET / HTTP/1.1>", b"<one two>", b"<>", b"<>", b"<ended>"]
    assert answer.count(b"connection: close") == 1


@pytest.mark.parametrize(
    "ambiguous",
    [
        b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"host: other.example\r\n\r\n",
        b"x: a\r\n b\r\n\r\n",
    ],
)
def test_a_request_with_an_offer_is_refused_like_any_other(ambiguous: bytes) -> None:
    with running() as (url, _):
        for offer in OFFERS.values():
            answer = exchange(url, b"POST / HTTP/1.1\r\n" + HOST + offer + ambiguous)
            assert refusal(answer) == (400, "malformed_request")
            assert answer.count(b"HTTP/1.1 ") == 1


def test_what_follows_a_tunnel_that_was_asked_for_is_no_request() -> None:
    with running() as (url, _):
        answer = exchange(url, b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in answer
