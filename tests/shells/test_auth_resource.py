"""What a guarded server tells strangers: how it is, what it is, and how to authenticate (RFC 9728)."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.shells.guarded import Guarded, bearer, elsewhere, guarded_server, refused
from tests.stacks import SOURCE, STORE


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_server(tmp_path_factory.mktemp("guarded") / "home") as running:
        yield running
        assert "Traceback" not in running.server.stop()


def test_probes_and_description_are_open(guarded: Guarded) -> None:
    client = guarded.server.client
    assert client.get("/health/live", headers=elsewhere()).json() == {"status": "alive"}
    assert client.get("/health/ready", headers=elsewhere()).json() == {"status": "ready"}
    described = client.get("/openapi.json", headers=elsewhere()).json()
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert {"bearer": []} in described["security"]


def test_health_tells_strangers_no_parts(guarded: Guarded) -> None:
    client = guarded.server.client
    stranger = client.get("/health", headers=elsewhere())
    assert stranger.status_code == 200
    assert stranger.json().keys() == {
        "status", "version", "environment", "database", "ollama", "license", "timestamp",
    }  # fmt: skip
    here = client.get("/health").json()
    known = client.get("/health", headers=elsewhere() | bearer(guarded.keys["rita"])).json()
    assert here["components"].keys() == known["components"].keys() >= {STORE, SOURCE}
    refused(
        client.get("/health", headers=elsewhere() | bearer("nonsense")),
        "The credential is neither an API key nor a token",
    )


@pytest.mark.parametrize(("path", "end"), [("", ""), ("/mcp", "/mcp")])
def test_resource_describes_itself(guarded: Guarded, path: str, end: str) -> None:
    answer = guarded.server.client.get(f"/.well-known/oauth-protected-resource{path}", headers=elsewhere())
    assert answer.json() == {
        "resource": guarded.server.url + end,
        "bearer_methods_supported": ["header"],
        "resource_name": "TMWS",
    }
    assert guarded.server.client.get("/.well-known/openid-configuration").status_code == 404


@pytest.mark.parametrize(("asked", "described"), [("/mcp", "/mcp"), ("/mcp/tools/get_current_agent", "")])
def test_challenge_leads_to_the_description(guarded: Guarded, asked: str, described: str) -> None:
    answer = guarded.post(asked, {"host": "tmws.example.com:8443"})
    [where] = re.findall(r'resource_metadata="([^"]+)"', answer.headers["www-authenticate"])
    assert where == f"http://tmws.example.com:8443/.well-known/oauth-protected-resource{described}"
    path = httpx.URL(where).path
    said = guarded.server.client.get(path, headers={"host": "tmws.example.com:8443"}).json()
    assert said["resource"] == f"http://tmws.example.com:8443{described}"


@pytest.mark.parametrize("host", ['x", error="none', "a b", "evil.example/path", "[::1", "\\", "ä", ""])
def test_host_that_is_none_is_not_repeated(guarded: Guarded, host: str) -> None:
    sent = [(b"host", host.encode("latin-1")), *httpx.Headers(elsewhere()).raw]
    answer = guarded.server.client.post("/mcp", headers=sent, json={})
    assert answer.status_code in (400, 401)
    if answer.status_code == 401:
        assert f'resource_metadata="{guarded.server.url}/.well-known/' in answer.headers["www-authenticate"]


def test_browser_may_read_why_it_was_refused_and_ask_beforehand(guarded: Guarded) -> None:
    page = elsewhere() | {"origin": "http://localhost:3000"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = guarded.server.client.options("/mcp", headers=page | asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    assert "access-control-allow-credentials" not in preflight.headers
    answer = guarded.post("/mcp", page)
    refused(answer)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "www-authenticate" in answer.headers["access-control-expose-headers"].lower()
