"""What a peer can do to an HTTP server without being a proper client: slowly, at great length, or ambiguously."""

import asyncio
import json
import socket
import threading
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tests.shells.serving import PATIENCE, HttpServer, http_server
from tmws_adapters.settings import Settings
from tmws_core.errors import ConfigurationError
from tmws_mcp.hardening import HEADERS, Hardened, headers_of, trusted_proxies
from tmws_mcp.limiting import network_of
from tmws_mcp.protocol import HEAD_BYTES, TARGET_BYTES, BoundedProtocol

HOST = b"host: localhost\r\n"
ALIVE = b"GET /health/live HTTP/1.1\r\n" + HOST
CHECK = b"POST /mcp/tools/health_check HTTP/1.1\r\n" + HOST


def connect(url: str, source: str = "127.0.0.1") -> socket.socket:
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port or 0), timeout=PATIENCE, source_address=(source, 0))


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def exchange(url: str, sent: bytes) -> bytes:
    """Send bytes and return all that comes back until the server hangs up."""
    with closing(connect(url)) as connection:
        connection.sendall(sent)
        return read_all(connection)


def refusal(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    error = json.loads(body)["error"]
    assert error["request_id"] == headers["x-request-id"]
    assert headers["connection"] == "close"
    assert headers.items() >= {name.decode(): value.decode() for name, value in HEADERS}.items()
    return int(lines[0].split()[1]), error["code"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (ALIVE + b"x: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
        (ALIVE + b"x: " + b"a" * HEAD_BYTES + b"\r\n\r\n", 431),
        (ALIVE + b"x: " + b"a" * 1_000_000, 431),
        (ALIVE + b"x: a\r\n" * 20_000 + b"\r\n", 431),
        (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET /" + b"a" * TARGET_BYTES + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (CHECK + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 3_000_000, 413),
    ],
    ids=["1 MB header", "header over the limit", "no end", "many headers", "URL of 64 KiB", "long path", "tiny chunks"],
)
def test_request_that_is_too_long_is_refused(server: HttpServer, sent: bytes, status: int) -> None:
    with closing(connect(server.url)) as connection:
        sending = threading.Thread(target=send_as_far_as_possible, args=(connection, sent))
        sending.start()
        answer = read_all(connection)
        sending.join()
    code = "request_too_large" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "malformed_request"
    assert refusal(answer) == (status, code)
    assert server.client.get("/health/live").status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("piece", [1, 1000, 8192, 65_536, 10**6])
@pytest.mark.parametrize(
    ("target", "more", "status"),
    [
        (TARGET_BYTES, b"", 404),
        (TARGET_BYTES + 1, b"", 414),
        (HEAD_BYTES - 100, b"", 414),
        (HEAD_BYTES, b"", 431),
        (10 * HEAD_BYTES, b"", 431),
        (TARGET_BYTES, b"x: " + b"a" * (HEAD_BYTES - TARGET_BYTES) + b"\r\n", 431),
        (TARGET_BYTES + 1, b"x: " + b"a" * HEAD_BYTES + b"\r\n", 431),
    ],
)
async def test_a_long_request_has_one_answer_however_it_arrives(
    target: int, more: bytes, status: int, piece: int
) -> None:
    """The pieces are those of the protocol's own calls, so that no network puts them together."""
    if piece == 1 and target > HEAD_BYTES:
        piece = 7
    sent = b"GET /" + b"a" * (target - 1) + b" HTTP/1.1\r\n" + HOST + more + b"connection: close\r\n\r\n"

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, http=BoundedProtocol, log_config=None, lifespan="off", ws="none")
    config.load()
    protocol = BoundedProtocol(config, ServerState(), {})
    ours, theirs = socket.socketpair()
    with closing(ours):
        ours.setblocking(False)  # noqa: FBT003 - the socket module's signature
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, theirs)
        for start in range(0, len(sent), piece):
            protocol.data_received(sent[start : start + piece])
        await anyio.wait_readable(ours)
        answer = ours.recv(65536)
        protocol.transport.abort()
    assert int(answer.split()[1]) == status


def send_as_far_as_possible(connection: socket.socket, sent: bytes) -> None:
    try:
        connection.sendall(sent)
    except OSError:
        return


@pytest.mark.parametrize(
    "sent",
    [
        CHECK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        CHECK + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        CHECK + b"content-length: 2, 2\r\n\r\n{}",
        CHECK + b"content-length: -1\r\n\r\n{}",
        CHECK + b"content-length: +2\r\n\r\n{}",
        CHECK + b"content-length: 99999999999999999999999\r\n\r\n{}",
        CHECK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        CHECK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        CHECK + b"transfer-encoding: xchunked\r\n\r\n{}",
        CHECK + b"transfer-encoding: chunked, gzip\r\n\r\n{}",
        CHECK + b"transfer-encoding: identity\r\n\r\n{}",
        CHECK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        CHECK + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        CHECK.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        CHECK + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        CHECK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        ALIVE + b"host: evil.example\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET /health/live#part HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /health/live?a#part HTTP/1.1\r\n" + HOST + b"\r\n",
        CHECK.replace(b" HTTP", b"#part HTTP") + b"content-length: 2\r\n\r\n{}",
        ALIVE + b"x: a\r\n b\r\n\r\n",
        ALIVE + b"x : a\r\n\r\n",
        ALIVE + b"x: a\0b\r\n\r\n",
        b"GET /health/live HTTP/1.1\nHost: localhost\n\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /mcp%2Ftools%2Fget_current_agent HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /mcp/tools%2fget_current_agent?x HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /health%5clive HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /health%5Clive HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://localhost/health%2Flive HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /health/live HTTP/3.0\r\n" + HOST + b"\r\n",
        b"GET /health/live HTTP/2.0\r\n" + HOST + b"\r\n",
        b"GET /health/live\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"NONSENSE /health/live HTTP/1.1\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_differently_is_refused(server: HttpServer, sent: bytes) -> None:
    answer = exchange(server.url, sent)
    assert refusal(answer) == (400, "malformed_request")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_probe_in_http_1_0_need_not_name_the_host_and_must_not_name_a_foreign_one(server: HttpServer) -> None:
    probe = b"GET /health/live HTTP/1.0\r\n"
    assert exchange(server.url, probe + b"\r\n").split(b" ", 2)[1] == b"200"
    for named in (b"evil.example", b""):
        assert refusal(exchange(server.url, probe + b"host: " + named + b"\r\n\r\n")) == (403, "forbidden")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "HEAD", "PROPFIND"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/tools/health_check", "/health", "/openapi.json"])
def test_unserved_method_is_a_clear_refusal(server: HttpServer, method: str, path: str) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code < 500
    served = (method, path) in {("HEAD", "/health"), ("HEAD", "/openapi.json")}
    assert answer.status_code == 200 if served else answer.status_code in (400, 404, 405)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"content":' * 50_000,
        b'{"content": NaN}',
        b'{"content": "x", "importance": NaN}',
        b'{"content": "x", "importance": 1e999}',
        b'{"content": "x", "importance": ' + b"9" * 100_000 + b"}",
        b'{"content": "x", "sequence": 99999999999999999999999}',
        b'{"content": "\\ud800"}',
        b'{"content": "\xed\xa0\x80"}',
        b'{"content": "\xff"}',
        b'{"content": "a\\u0000b"}',
        b'{"content": "x", "tags": ["a\\u0000b"]}',
        b'{"content": "x", "metadata": ' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}",
        b'{"content": "x", "content": 1}',
        b'"text"',
        b"\xef\xbb\xbf{}",
        b"\0",
    ],
)
def test_json_that_is_no_request_is_a_clear_refusal(server: HttpServer, body: bytes) -> None:
    answer = server.client.post("/mcp/tools/create_memory", content=body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert not any(word in answer.text for word in ("Traceback", "File ", ".py", "orjson", "cattrs", "sqlite"))


def test_path_of_any_bytes_is_a_clear_refusal(server: HttpServer) -> None:
    answer = exchange(server.url, b"POST /mcp/tools/%ff%00%0d%0aX:1 HTTP/1.1\r\nconnection: close\r\n" + HOST + b"\r\n")
    assert refusal(answer) == (404, "unknown_operation")


def test_chunks_are_read_however_they_are_spelt(server: HttpServer) -> None:
    sent = CHECK + b"Transfer-Encoding: CHUNKED \r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert exchange(server.url, sent).startswith(b"HTTP/1.1 200")


def test_an_encoded_slash_in_a_query_is_data(server: HttpServer) -> None:
    assert server.client.get("/health/live?from=%2Fa%5Cb").status_code == 200


def test_trailers_are_no_headers(server: HttpServer) -> None:
    foreign = (
        b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\norigin: http://evil.example\r\n\r\n"
    )
    assert exchange(server.url, CHECK + foreign).startswith(b"HTTP/1.1 200")


def test_request_before_nonsense_is_answered_and_then_the_connection_ends(server: HttpServer) -> None:
    answer = exchange(server.url, b"GET /health HTTP/1.1\r\n" + HOST + b"\r\nnonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_headers_are_waited_for_ten_seconds_and_the_next_request_for_longer(server: HttpServer) -> None:
    with (
        closing(connect(server.url)) as silent,
        closing(connect(server.url)) as half,
        closing(connect(server.url)) as idle,
    ):
        half.sendall(b"GET /health/live HT")
        idle.sendall(ALIVE + b"\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        assert refusal(read_all(half)) == (408, "timeout")
        assert read_all(silent) == b""
        idle.sendall(ALIVE + b"connection: close\r\n\r\n")
        assert b"HTTP/1.1 200" in read_all(idle)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("GET", "/nothing", 404),
        ("POST", "/mcp/tools/health_check", 200),
        ("POST", "/mcp", 406),
        ("PUT", "/mcp", 405),
    ],
)
def test_every_answer_tells_browsers_to_keep_away(server: HttpServer, method: str, path: str, status: int) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code in (status, 400)
    assert answer.headers.items() >= {name.decode(): value.decode() for name, value in HEADERS}.items()
    assert "strict-transport-security" not in answer.headers
    assert "server" not in answer.headers


def test_refused_host_gets_the_headers_too(server: HttpServer) -> None:
    answer = server.client.get("/health", headers={"host": "evil.example"})
    assert (answer.status_code, answer.headers["x-content-type-options"]) == (403, "nosniff")


def test_only_a_public_https_url_asks_browsers_for_https() -> None:
    for url, asked in ("https://tmws.example.com", True), ("http://tmws.example.com", False), ("", False):
        names = [name for name, _ in headers_of(Settings(public_url=url))]
        assert (b"strict-transport-security" in names) is asked


@pytest.mark.anyio
async def test_page_for_people_has_a_policy_of_its_own() -> None:
    policy = (b"Content-Security-Policy", b"default-src 'self'")

    async def page(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [policy]})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    await Hardened(page, HEADERS)({"type": "http"}, receive, send)
    assert [header for header in sent[0]["headers"] if header[0].lower() == policy[0].lower()] == [policy]
    assert len(sent[0]["headers"]) == len(HEADERS)


def test_any_origin_may_read_but_never_with_credentials(home: Path) -> None:
    with http_server(home, TMWS_CORS_ORIGINS="*") as server:
        answer = server.client.get("/health/live", headers={"origin": "https://any.example"})
        preflight = {"origin": "https://any.example", "access-control-request-method": "POST"}
        for headers in answer.headers, server.client.options("/mcp", headers=preflight).headers:
            assert headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_an_ipv6_address_is_its_network(host: str, network: str) -> None:
    assert network_of((host, 1)) == network


def test_peer_without_an_address_is_one() -> None:
    assert network_of(None) == "unknown"


@pytest.mark.parametrize("proxies", [("10.0.0.1/8",), ("proxy.example",), ("",)])
def test_proxy_that_is_no_address_is_refused(proxies: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        trusted_proxies(Settings(trusted_proxies=proxies))
    assert caught.value.setting == "TMWS_TRUSTED_PROXIES"


def test_proxies_are_addresses_networks_or_any() -> None:
    assert trusted_proxies(Settings(trusted_proxies=("10.0.0.1", "2001:db8::/32"))) == ["10.0.0.1", "2001:db8::/32"]
    assert trusted_proxies(Settings(trusted_proxies=("10.0.0.1", "*"))) == ["*"]
