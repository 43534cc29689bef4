"""Sessions of MCP that no server keeps: any server, and the same one after a restart, takes up what another began."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp_types.jsonrpc import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

from tests.servers.redis import RedisProcess
from tests.shells.guarded import SECRET
from tests.shells.serving import PATIENCE, HttpServer, http_server
from tests.shells.test_http_server import JSON, rpc, session
from tmws_adapters.inprocess import LruCache
from tmws_mcp.sessions import Sessions

VERSION = "2025-06-18"
CANCELLED = -32800


def sessions(*keys: bytes) -> Sessions:
    return Sessions(lambda: list(keys), LruCache(1))


def ping(server: HttpServer, headers: dict[str, str]) -> int:
    return server.client.post("/mcp", json=rpc("ping"), headers=headers).status_code


@pytest.mark.anyio
async def test_session_is_known_to_whoever_has_its_key() -> None:
    name = sessions(b"one").begin("ada", VERSION)

    assert await sessions(b"one").version(name, "ada") == VERSION
    assert await sessions(b"new", b"one").version(name, "ada") == VERSION
    assert await sessions(b"new").version(name, "ada") is None


@pytest.mark.anyio
async def test_session_is_good_for_its_agent_only_and_none_can_be_made_up() -> None:
    known = sessions(b"one")
    name = known.begin("ada", VERSION)
    told, _, seal = name.rpartition(".")
    forged = [
        name.replace(VERSION, "2025-11-25"),
        f"{told}.{'0' * len(seal)}",
        f"{told}.",
        f"{name}0",
        f"{name}\n",
        "",
        "0" * 32,
    ]

    assert await known.version(name, "bob") is None
    assert [await known.version(each, "ada") for each in forged] == [None] * len(forged)
    assert known.begin("ada", VERSION) != name


@pytest.mark.anyio
async def test_ended_session_stays_ended_though_the_cache_forgets_it() -> None:
    known = sessions(b"one")
    name, other = known.begin("ada", VERSION), known.begin("ada", VERSION)

    await known.end(name)
    await known.cache.put("something else", b"")

    assert await known.version(name, "ada") is None
    assert await known.version(other, "ada") == VERSION


def test_session_outlives_its_server(home: Path) -> None:
    with http_server(home) as server:
        headers = session(server)
        assert ping(server, headers) == 200
        server.stop()
    with http_server(home) as server:
        assert ping(server, headers) == 200


def test_session_ends_on_all_servers_that_share_a_redis(tmp_path: Path, redis_server: RedisProcess) -> None:
    shared = {"TMWS_SECRET_KEY": SECRET, "TMWS_REDIS_URL": redis_server.url}
    with http_server(tmp_path / "one", **shared) as one, http_server(tmp_path / "other", **shared) as other:
        headers = session(one)
        assert [ping(server, headers) for server in (one, other)] == [200, 200]

        assert other.client.delete("/mcp", headers=headers).status_code == 200

        assert [ping(server, headers) for server in (one, other)] == [404, 404]


def test_end_of_a_session_ends_the_streams_on_which_its_client_listens(server: HttpServer) -> None:
    headers, others = session(server), session(server)
    with server.client.stream("GET", "/mcp", headers=headers) as listening:
        assert listening.status_code == 200
        assert server.client.delete("/mcp", headers=others).status_code == 200
        assert server.client.delete("/mcp", headers=headers).status_code == 200
        assert list(listening.iter_bytes()) == []


def test_session_speaks_the_version_that_it_began_with(server: HttpServer) -> None:
    hello = rpc(
        "initialize", protocolVersion="1999-01-01", capabilities={}, clientInfo={"name": "test", "version": "1"}
    )
    answer = server.client.post("/mcp", json=hello, headers={"accept": "application/json"})

    assert answer.headers["mcp-session-id"].startswith(answer.json()["result"]["protocolVersion"])


def test_refused_introduction_begins_no_session(server: HttpServer) -> None:
    answer = server.client.post("/mcp", json=rpc("initialize"), headers={"accept": "application/json"})

    assert answer.json()["error"]["code"] == -32602
    assert "mcp-session-id" not in answer.headers


@pytest.mark.anyio
async def test_request_that_its_client_takes_back_is_stopped(server: HttpServer) -> None:
    headers = await anyio.to_thread.run_sync(session, server)
    others = await anyio.to_thread.run_sync(session, server)
    memories = [{"content": f"taken back {number}"} for number in range(300)]
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    answers: list[dict[str, Any]] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:

        async def post() -> None:
            call = rpc("tools/call", 7, name="create_memories", arguments={"memories": memories})
            answers.append((await client.post("/mcp", json=call, headers=headers)).json())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post)
            await client.post("/mcp", json=cancel, headers=others)
            while not answers:
                assert (await client.post("/mcp", json=cancel, headers=headers)).status_code == 202
        found = await client.post("/mcp/tools/search_memories", json={"query": "taken back", "mode": "lexical"})

    assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [(7, CANCELLED)]
    assert found.json()["results"] == []


def test_a_stream_is_opened_again_after_an_event_though_none_is_repeated(server: HttpServer) -> None:
    headers = {**session(server), "accept": "text/event-stream", "last-event-id": "42"}
    with server.client.stream("GET", "/mcp", headers=headers) as stream:
        assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream")


@pytest.mark.parametrize("version", ["1999-01-01", "", "latest", "x" * 1000])
def test_a_version_that_is_not_spoken_is_refused_with_those_that_are(server: HttpServer, version: str) -> None:
    for headers in JSON, session(server):
        told = {**headers, "mcp-protocol-version": version}
        for method, body in ("POST", rpc("ping", 7)), ("GET", None), ("DELETE", None):
            answer = server.client.request(method, "/mcp", headers=told, json=body)
            assert (answer.status_code, answer.json()["id"]) == (400, 7 if body else None)
            error = answer.json()["error"]
            assert error["code"] == UNSUPPORTED_PROTOCOL_VERSION
            assert error["data"] == {"supported": list(KNOWN_PROTOCOL_VERSIONS), "requested": version[:100]}
            assert ", ".join(KNOWN_PROTOCOL_VERSIONS) in error["message"]


@pytest.mark.anyio
async def test_a_session_is_sealed_with_the_current_key() -> None:
    name = sessions(b"new", b"one").begin("ada", VERSION)
    assert await sessions(b"new").version(name, "ada") == VERSION


@pytest.mark.anyio
async def test_of_the_sessions_that_ended_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmws_mcp.sessions.ENDED", 2)
    known = sessions(b"one")
    names = [known.begin("ada", VERSION) for _ in range(3)]
    for name in names:
        await known.end(name)
    await known.cache.put("something else", b"")
    assert [await known.version(name, "ada") for name in names] == [VERSION, None, None]
