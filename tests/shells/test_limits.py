"""How often and how much at once HTTP callers may ask."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.shells.serving import PATIENCE, HttpServer, http_server
from tests.shells.test_hardening import CHECK, connect, read_all
from tests.shells.test_http_server import session
from tmws_adapters.inprocess import InprocessLimiter
from tmws_adapters.settings import Settings
from tmws_adapters.system import SystemClock
from tmws_core.domain.agent import Caller
from tmws_core.errors import Overloaded, RateLimited, Unauthenticated
from tmws_mcp.limiting import STREAMS_EACH, AddressLimits, AgentLimits, Places, Rates, Streams

THREE = {"TMWS_RATE_LIMIT_ENABLED": "true", "TMWS_RATE_LIMIT_PER_MINUTE": "3"}


@contextmanager
def from_address(server: HttpServer, address: str) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(base_url=server.url, timeout=PATIENCE, transport=transport, trust_env=False) as client:
        yield client


def statuses(client: httpx.Client, times: int, **headers: str) -> list[int]:
    return [client.get("/openapi.json", headers=headers).status_code for _ in range(times)]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """A server that lets each address send three requests a minute; 127.0.0.9 is a proxy."""
    home = tmp_path_factory.mktemp("limited") / "home"
    with http_server(home, TMWS_TRUSTED_PROXIES="127.0.0.9", **THREE) as running:
        yield running
        running.stop()


def test_address_that_asks_too_often_is_told_when_to_come_back(limited: HttpServer) -> None:
    with from_address(limited, "127.0.0.2") as client:
        assert statuses(client, 3) == [200, 200, 200]
        answer = client.post("/mcp/tools/health_check", json={})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "rate_limited")
    assert error["request_id"] == answer.headers["x-request-id"]
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert error["facts"]["retry_after"] <= int(answer.headers["retry-after"])


def test_another_address_has_requests_of_its_own(limited: HttpServer) -> None:
    with from_address(limited, "127.0.0.3") as one, from_address(limited, "127.0.0.4") as other:
        assert statuses(one, 4)[-1] == 429
        assert statuses(other, 1) == [200]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health"])
def test_probes_are_not_counted(limited: HttpServer, path: str) -> None:
    with from_address(limited, "127.0.0.5") as client:
        assert {client.get(path).status_code for _ in range(20)} == {200}
        assert statuses(client, 1) == [200]


def test_a_browser_may_read_why_it_is_refused(limited: HttpServer) -> None:
    with from_address(limited, "127.0.0.6") as client:
        statuses(client, 3)
        answer = client.post("/mcp/tools/health_check", json={}, headers={"origin": "http://localhost:3000"})
    assert answer.status_code == 429
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "retry-after" in answer.headers["access-control-expose-headers"]


def test_forwarded_addresses_count_from_a_trusted_proxy_only(limited: HttpServer) -> None:
    with from_address(limited, "127.0.0.7") as stranger:
        spoofed = [statuses(stranger, 1, **{"x-forwarded-for": f"192.0.2.{number}"})[0] for number in range(4)]
    assert spoofed == [200, 200, 200, 429]
    with from_address(limited, "127.0.0.9") as proxy:
        for client in "198.51.100.1", "198.51.100.2":
            assert statuses(proxy, 4, **{"x-forwarded-for": client}) == [200, 200, 200, 429]


def test_a_proxy_may_name_the_client_by_its_other_header(limited: HttpServer) -> None:
    with from_address(limited, "127.0.0.9") as proxy, from_address(limited, "127.0.0.17") as stranger:
        for client in "198.51.100.7", "198.51.100.8":
            assert statuses(proxy, 4, **{"x-real-ip": client}) == [200, 200, 200, 429]
        spoofed = [statuses(stranger, 1, **{"x-real-ip": f"192.0.2.{number}"})[0] for number in range(4)]
    assert spoofed == [200, 200, 200, 429]


def test_what_a_client_writes_before_the_proxy_does_not_hide_it(limited: HttpServer) -> None:
    with from_address(limited, "127.0.0.9") as proxy:
        forwarded = [f"192.0.2.{number}, 198.51.100.3" for number in range(4)]
        assert [statuses(proxy, 1, **{"x-forwarded-for": each})[0] for each in forwarded] == [200, 200, 200, 429]


def test_without_authentication_nothing_is_counted_unless_asked_for(server: HttpServer) -> None:
    assert set(statuses(server.client, 100)) == {200}


def test_one_request_too_many_at_once_is_refused_and_the_server_still_tells_how_it_is(home: Path) -> None:
    half = CHECK + b"content-length: 2\r\nconnection: close\r\n\r\n{"
    with http_server(home, TMWS_MAX_CONCURRENT_REQUESTS="2") as server, ExitStack() as stack:
        held = [stack.enter_context(closing(connect(server.url))) for _ in range(2)]
        for connection in held:
            connection.sendall(half)
        while (answer := server.call("health_check")).status_code != 503:
            pass
        assert answer.json()["error"]["code"] == "overloaded"
        assert answer.headers["retry-after"] == "1"
        for probe in "/health/live", "/health/ready", "/health":
            assert server.client.get(probe).status_code == 200
        for connection in held:
            connection.sendall(b"}")
            assert read_all(connection).startswith(b"HTTP/1.1 200")
        assert server.call("health_check").status_code == 200


def test_listeners_take_no_place_of_a_request_and_are_bounded_themselves(home: Path) -> None:
    with http_server(home, TMWS_MAX_CONCURRENT_REQUESTS="2") as server, ExitStack() as stack:
        streams = [server.client.stream("GET", "/mcp", headers=session(server)) for _ in range(3)]
        listening = [stack.enter_context(stream) for stream in streams]
        assert [stream.status_code for stream in listening] == [200, 200, 503]
        assert {server.call("health_check").status_code for _ in range(5)} == {200}
        listening[0].close()
        again = session(server)
        while listens(server, again) != 200:
            pass


def listens(server: HttpServer, headers: dict[str, str]) -> int:
    with server.client.stream("GET", "/mcp", headers=headers) as stream:
        return stream.status_code


async def nothing() -> Any:
    return {"type": "http.disconnect"}


async def nowhere(_: Any) -> None:
    """Send nothing."""


def scope_of(path: str = "/mcp/tools/health_check", method: str = "POST", **headers: str) -> Scope:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": raw, "client": ("192.0.2.1", 1), "state": {}}


async def answered(*_: object) -> None:
    """Answer nothing."""


@attrs.frozen
class Identify:
    """Believes who says who it is, as "good" and the name, on all but the open route."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"").decode()
        if scope["path"] != "/openapi.json":
            if not given.startswith("good "):
                raise Unauthenticated(reason="no")
            scope["state"]["caller"] = Caller(agent_id=given.removeprefix("good "), namespace="acme")
        await self.app(scope, receive, send)


def stack(requests: int, per_minute: int) -> ASGIApp:
    """Return the limits around and inside an authentication, as the server has them."""
    settings = Settings(rate_limit_requests=requests, rate_limit_period=3600, rate_limit_per_minute=per_minute)
    rates = Rates.of(settings, InprocessLimiter(SystemClock()))
    return AddressLimits(Identify(AgentLimits(answered, rates)), rates, authenticates=True)


async def outcomes(app: ASGIApp, times: int, path: str = "/mcp/tools/health_check", **headers: str) -> list[str]:
    found = []
    for _ in range(times):
        try:
            await app(scope_of(path, **headers), nothing, nowhere)
        except (RateLimited, Unauthenticated) as error:
            found.append(error.code)
        else:
            found.append("ok")
    return found


@pytest.mark.anyio
async def test_an_agent_counts_as_itself_and_not_as_its_address() -> None:
    app = stack(requests=2, per_minute=1)
    assert await outcomes(app, 3, authorization="good ann") == ["ok", "ok", "rate_limited"]
    assert await outcomes(app, 3, authorization="good bob") == ["ok", "ok", "rate_limited"]
    assert await outcomes(app, 2) == ["unauthenticated", "rate_limited"]


@pytest.mark.anyio
async def test_wrong_credentials_count_against_the_address() -> None:
    app = stack(requests=2, per_minute=2)
    assert await outcomes(app, 3, authorization="bad") == ["unauthenticated", "unauthenticated", "rate_limited"]
    assert await outcomes(app, 1) == ["rate_limited"]
    assert await outcomes(app, 1, authorization="good ann") == ["ok"]


@pytest.mark.anyio
async def test_an_open_route_counts_against_the_address_whatever_is_sent_along() -> None:
    app = stack(requests=9, per_minute=2)
    assert await outcomes(app, 1, "/openapi.json") == ["ok"]
    assert await outcomes(app, 2, "/openapi.json", authorization="good ann") == ["ok", "rate_limited"]


@pytest.mark.anyio
async def test_one_agent_cannot_have_all_streams() -> None:
    ended = anyio.Event()

    async def listen(*_: object) -> None:
        await ended.wait()

    app = Identify(Streams(listen, limit=STREAMS_EACH + 1))

    async def ask(name: str) -> None:
        await app(scope_of("/mcp", "GET", authorization=f"good {name}"), nothing, nowhere)

    async with anyio.create_task_group() as tasks:
        for _ in range(STREAMS_EACH):
            tasks.start_soon(ask, "ann")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RateLimited):
            await ask("ann")
        tasks.start_soon(ask, "bob")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await ask("eve")
        ended.set()
    await ask("ann")


@pytest.mark.anyio
async def test_a_place_is_free_again_after_an_error() -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    app = Places(fail, limit=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await app(scope_of(), nothing, nowhere)
