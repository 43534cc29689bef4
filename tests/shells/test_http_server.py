"""The HTTP server around the operations: routes, who may call, limits, start and stop."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.shells.serving import MODERN, PATIENCE, HttpServer, http_server
from tests.stacks import PRODUCTION, SOURCE, STORE
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError
from tmws_mcp.bodies import BODY_BYTES
from tmws_mcp.http import serve_http

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def rpc(method: str, id_: int = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


HELLO = rpc("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"})


def refusal(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert error["request_id"] == response.headers["x-request-id"]
    return response.status_code, error["code"]


def session(server: HttpServer) -> dict[str, str]:
    """Open an MCP session and return the headers of its requests."""
    answer = server.client.post("/mcp", json=HELLO, headers=JSON)
    assert answer.json()["result"]["serverInfo"]["name"] == "tmws"
    return JSON | {"mcp-session-id": answer.headers["mcp-session-id"]}


def connect(server: HttpServer) -> socket.socket:
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port or 0), timeout=PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def ask_until_refused(server: HttpServer) -> None:
    while httpx.get(f"{server.url}/health/live", timeout=PATIENCE, trust_env=False).is_success:
        pass


def test_health_reports_every_part(server: HttpServer) -> None:
    answer = server.client.get("/health")
    assert answer.status_code == 200
    report = answer.json()
    assert (report["status"], report["database"], report["license"]) == ("healthy", "connected", "valid")
    assert {part["status"] for part in report["components"].values()} == {"up"}
    assert {STORE, SOURCE, "onnx"} | ({"redis"} if PRODUCTION else set()) == report["components"].keys()


SERVED = "MCP is at /mcp, REST at POST /mcp/tools/<operation>, and GET /openapi.json describes it"


def test_probes_answer(server: HttpServer) -> None:
    assert server.client.get("/health/live").json() == {"status": "alive"}
    assert server.client.get("/health/ready").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, "unknown_route", SERVED)),
        ("POST", "/v1/memories", (404, "unknown_route", SERVED)),
        ("GET", "/mcp/tools/", (404, "unknown_route", "no path ends with a slash")),
        ("GET", "/mcp/tools/health_check", (405, "method_not_allowed", "it takes POST")),
        ("DELETE", "/health", (405, "method_not_allowed", "it takes GET or HEAD")),
        ("POST", "/openapi.json", (405, "method_not_allowed", "it takes GET or HEAD")),
    ],
)
def test_what_is_not_served_is_a_json_error_that_says_what_is(
    server: HttpServer, method: str, path: str, expected: tuple[int, str, str]
) -> None:
    answer = server.client.request(method, path)
    instead = answer.json()["error"]["message"].removeprefix(f"There is no {method} {path}: ")
    assert (*refusal(answer), instead) == expected


def test_every_answer_has_a_request_id_of_its_own(server: HttpServer) -> None:
    ids = {server.client.get("/health/live").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "LOCALHOST:80", "[::1]:8000"])
def test_loopback_host_is_served(server: HttpServer, host: str) -> None:
    assert server.client.get("/health/live", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8000", "10.0.0.1", ""])
@pytest.mark.parametrize("path", ["/health", "/mcp", "/mcp/tools/health_check"])
def test_foreign_host_is_refused(server: HttpServer, host: str, path: str) -> None:
    assert refusal(server.client.post(path, headers={"host": host}, json={})) == (403, "forbidden")


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://localhost:5173", "https://127.0.0.1", "http://[::1]:9"]
)
def test_known_origin_may_read_the_answer(server: HttpServer, origin: str) -> None:
    answer = server.client.get("/health/live", headers={"origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "mcp-session-id",
    }
    preflight = server.client.options("/mcp", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == "mcp-session-id"
    private = server.client.options("/mcp", headers=asked | {"access-control-request-private-network": "true"})
    assert (private.status_code, private.headers["access-control-allow-private-network"]) == (200, "true")


@pytest.mark.parametrize("accept", ["*/*", "", None, "application/*", "application/json"])
@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
def test_who_does_not_say_what_it_accepts_gets_json(server: HttpServer, version: str, accept: str | None) -> None:
    body = json.dumps(rpc("tools/list", _meta=MODERN)).encode()
    headers = {"content-type": "application/json", "mcp-protocol-version": version, "mcp-method": "tools/list"}
    asked = server.client.build_request("POST", "/mcp", content=body, headers=headers)
    del asked.headers["accept"]
    if accept is not None:
        asked.headers["accept"] = accept
    answer = server.client.send(asked)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["result"]["tools"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example", "file://"])
def test_foreign_origin_is_refused_and_stores_nothing(server: HttpServer, origin: str) -> None:
    body = {"content": "from a web page", "agent_id": "victim"}
    answer = server.client.post("/mcp/tools/create_memory", json=body, headers={"origin": origin})
    assert refusal(answer) == (403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers
    assert server.call("get_memory_stats", agent_id="victim").json()["total"] == 0


@pytest.mark.parametrize("path", ["/mcp", "/mcp/tools/create_memory"])
def test_body_over_the_limit_is_refused(server: HttpServer, path: str) -> None:
    declared = server.client.post(path, content=b"x" * (BODY_BYTES + 1), headers=JSON)
    assert refusal(declared) == (413, "request_too_large")
    assert str(BODY_BYTES) in declared.json()["error"]["message"]
    streamed = server.client.post(path, content=(b"x" * 65536 for _ in range(BODY_BYTES // 65536 + 1)), headers=JSON)
    assert refusal(streamed) == (413, "request_too_large")
    assert server.client.get("/health/live").status_code == 200


def test_body_that_ends_early_does_no_harm(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"POST /mcp/tools/create_memory HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
    assert server.client.get("/health/live").status_code == 200


def test_plain_request_to_mcp_needs_no_session(server: HttpServer) -> None:
    answer = server.client.post("/mcp", json=rpc("tools/call", name="health_check"), headers=JSON)
    assert answer.json()["result"]["structuredContent"]["status"] == "healthy"
    assert "mcp-session-id" not in answer.headers


def test_client_that_takes_nothing_but_a_stream_of_events_gets_one(server: HttpServer) -> None:
    for message in HELLO, rpc("tools/call", name="health_check"):
        answer = server.client.post("/mcp", json=message, headers=JSON | {"accept": "text/event-stream"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        event, data, *end = answer.text.split("\n")
        assert (event, data[:6], end) == ("event: message", "data: ", ["", ""])
        assert json.loads(data[6:])["id"] == message["id"]
        assert ("mcp-session-id" in answer.headers) == (message is HELLO)


@pytest.mark.parametrize(
    ("body", "request_id", "code"),
    [
        (b"nonsense", None, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', 1, -32700),
        (b"[" * 10_000, None, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', 1, -32700),
        (b"{}", None, -32600),
        (b"[]", None, -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, -32600),
    ],
)
def test_bad_message_to_mcp_is_a_json_rpc_error(
    server: HttpServer, body: bytes, request_id: int | None, code: int
) -> None:
    for headers in (JSON, session(server), JSON | {"mcp-protocol-version": "2026-07-28"}):
        answer = server.client.post("/mcp", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        assert answer.json()["id"] == request_id


def test_answers_of_the_client_are_ignored(server: HttpServer) -> None:
    answered = {"jsonrpc": "2.0", "id": 1, "result": {"a": "x" * 100_000}}
    for headers in (JSON, session(server), JSON | {"mcp-protocol-version": "2026-07-28"}):
        ignored = server.client.post("/mcp", json=answered, headers=headers)
        assert (ignored.status_code, ignored.content) == (202, b"")


def test_refusals_of_the_protocol_library_are_json_too(server: HttpServer) -> None:
    plain = server.client.post("/mcp", content=b"{}", headers={"content-type": "text/plain"})
    assert plain.json()["error"]["code"] in ("malformed_request", -32600)
    modern = JSON | {"mcp-protocol-version": "2026-07-28", "accept": "text/html"}
    assert refusal(server.client.post("/mcp", json=rpc("ping"), headers=modern)) == (406, "malformed_request")
    ended = session(server)
    assert server.client.delete("/mcp", headers=ended).status_code == 200
    assert server.client.post("/mcp", json=rpc("ping"), headers=ended).status_code == 404


async def _twice(server: HttpServer) -> list[httpx.Response]:
    headers = session(server)
    memories = [{"content": f"twice {number}"} for number in range(50)]
    answers: list[httpx.Response] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:

        async def post() -> None:
            call = rpc("tools/call", 7, name="create_memories", arguments={"memories": memories})
            answers.append(await client.post("/mcp", json=call, headers=headers))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post)
            tasks.start_soon(post)
    return answers


@pytest.mark.anyio
async def test_id_in_use_is_refused_and_the_first_request_is_answered(server: HttpServer) -> None:
    refused, answered = await _twice(server)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32600)
    assert len(answered.json()["result"]["structuredContent"]["results"]) == 50


def test_slow_body_is_refused(home: Path) -> None:
    with http_server(home, TMWS_REQUEST_TIMEOUT="0.5") as server:
        with connect(server) as connection:
            connection.sendall(
                b"POST /mcp/tools/health_check HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{"
            )
            answer = read_all(connection)
        log = server.stop()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"timeout"' in answer
    assert f"MCP server started on {server.url}" in log
    assert "Traceback" not in log


def test_stop_does_not_wait_for_clients_that_only_listen(home: Path) -> None:
    with (
        http_server(home, TMWS_REQUEST_TIMEOUT="3600") as server,
        server.client.stream("GET", "/mcp", headers=session(server)) as listening,
    ):
        assert listening.status_code == 200
        assert "Traceback" not in server.stop()
        assert list(listening.iter_bytes()) == []


def test_stop_refuses_new_requests_and_finishes_the_running_one(home: Path) -> None:
    with http_server(home) as server:
        with connect(server) as connection:
            connection.sendall(
                b"POST /mcp/tools/health_check HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{"
            )
            server.client.get("/health/live")
            server.process.terminate()
            with pytest.raises(httpx.TransportError):
                ask_until_refused(server)
            connection.sendall(b"}")
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"status":"healthy"' in answer
        assert "Traceback" not in server.log()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"TMWS_ENVIRONMENT": "production"}, "TMWS_SECRET_KEY"),
        ({"TMWS_ENVIRONMENT": "production", "TMWS_AUTH_ENABLED": "false"}, "TMWS_SECRET_KEY"),
        ({"TMWS_HOST": "0.0.0.0"}, "TMWS_HOST"),
        ({"TMWS_HOST": "192.0.2.1", "TMWS_ALLOW_INSECURE": "true"}, "TMWS_HOST"),
        ({"TMWS_HOST": "no such host", "TMWS_ALLOW_INSECURE": "true"}, "TMWS_HOST"),
    ],
)
async def test_server_does_not_start_where_it_may_not_listen(home: Path, given: dict[str, str], setting: str) -> None:
    settings = load_settings({"TMWS_HOME": str(home), "TMWS_PORT": "0", **given}, dotenv=None)
    with pytest.raises(ConfigurationError) as caught:
        await serve_http(settings)
    assert caught.value.setting == setting
    assert caught.value.remedy
    assert not (home / "tmws.db").exists()


def test_port_in_use_is_named(server: HttpServer, home: Path) -> None:
    port = str(httpx.URL(server.url).port)
    with (
        pytest.raises(AssertionError, match=re.escape(f"TMWS_PORT: {port} is in use")),
        http_server(home, TMWS_PORT=port),
    ):
        pass


def test_localhost_is_reached_by_either_family(server: HttpServer) -> None:
    port = httpx.URL(server.url).port
    for host in ("127.0.0.1", "[::1]"):
        answer = httpx.get(f"http://{host}:{port}/health/live", trust_env=False)
        assert answer.json() == {"status": "alive"}


def test_port_that_another_program_has_on_the_other_family_is_named(home: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = str(taken.getsockname()[1])
        with (
            pytest.raises(AssertionError, match=re.escape(f"TMWS_PORT: {port} is in use")),
            http_server(home, TMWS_PORT=port),
        ):
            pass


def test_insecure_server_is_reached_by_any_name_and_says_so(home: Path) -> None:
    with http_server(home, TMWS_ALLOW_INSECURE="true", TMWS_HOST="0.0.0.0") as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        answer = httpx.get(f"{url}/health/live", headers={"host": "memory.internal"}, trust_env=False)
        assert answer.status_code == 200
        assert "No authentication" in server.stop()
