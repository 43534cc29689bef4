"""A server that trusts an external issuer: its tokens are good for agents that are registered here."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from tests.contracts.issuer_double import AUDIENCE, IssuerDouble, issuer_double
from tests.shells.guarded import GUARDED, Guarded, bearer, elsewhere, guarded_server, revoke, settings_of
from tests.shells.serving import http_server
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError
from tmws_mcp.http import serve_http


def trusting(issuer: IssuerDouble) -> dict[str, str]:
    return {"TMWS_OAUTH_ISSUER": issuer.url, "TMWS_PUBLIC_URL": AUDIENCE.removesuffix("/mcp")}


@pytest.fixture(scope="module")
def issuer() -> Iterator[IssuerDouble]:
    with issuer_double() as double:
        yield double


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, issuer: IssuerDouble) -> Iterator[Guarded]:
    with guarded_server(tmp_path_factory.mktemp("guarded") / "home", **trusting(issuer)) as running:
        yield running
        assert "Traceback" not in running.server.stop()


def reason(answer: httpx.Response) -> str:
    assert answer.status_code == 401, answer.text
    [said] = re.findall(r'error="invalid_token", error_description="([^"]+)"', answer.headers["www-authenticate"])
    assert answer.json()["error"]["message"].startswith(said)
    found: str = said
    return found


def test_token_of_the_issuer_is_who_the_registry_says(guarded: Guarded, issuer: IssuerDouble) -> None:
    answer = guarded.try_(issuer.token(sub="bob", role="admin", namespace="acme")).json()
    assert (answer["agent_id"], answer["namespace"], answer["role"]) == ("bob", "globex", "agent")


def test_own_credentials_are_good_besides(guarded: Guarded) -> None:
    assert guarded.try_(guarded.keys["ada"]).status_code == 200


def test_bad_tokens_of_the_issuer_are_refused(guarded: Guarded, issuer: IssuerDouble) -> None:
    assert reason(guarded.try_(issuer.token(sub="nobody"))) == "The agent of this token is not registered"
    assert reason(guarded.try_(issuer.token(aud="tmws"))) == "The token is for another audience"
    assert reason(guarded.try_(issuer.token(iss="tmws"))) == "The token is from another issuer"
    assert reason(guarded.try_(issuer.token(exp=1))) == "The token has expired"
    assert reason(guarded.try_(issuer.token("k9"))) == "The token is signed with a key that its issuer does not have"
    forged = jwt.encode({"iss": issuer.url, "aud": AUDIENCE, "sub": "ada", "exp": 2**40}, "x" * 64, "HS256")
    assert reason(guarded.try_(forged)) == "The signature of the token is wrong"


def test_audience_does_not_follow_the_host_that_a_client_names(guarded: Guarded, issuer: IssuerDouble) -> None:
    token = issuer.token(aud="http://other.example/mcp")
    answer = guarded.post("/mcp/tools/get_current_agent", bearer(token) | {"host": "other.example"})
    assert reason(answer) == "The token is for another audience"


def test_token_of_the_issuer_can_be_revoked_here(guarded: Guarded, issuer: IssuerDouble) -> None:
    token = issuer.token(jti="stolen")
    assert guarded.try_(token).status_code == 200
    revoke(guarded.home, token, **trusting(issuer))
    assert reason(guarded.try_(token)) == "The token was revoked"
    assert guarded.try_(issuer.token(jti="another")).status_code == 200


def test_resource_names_its_issuer(guarded: Guarded, issuer: IssuerDouble) -> None:
    answer = guarded.server.client.get("/.well-known/oauth-protected-resource/mcp").json()
    assert (answer["resource"], answer["authorization_servers"]) == (AUDIENCE, [issuer.url])


def test_issuer_that_is_down_is_no_fault_of_the_token(home: Path) -> None:
    with issuer_double() as gone:
        token, kept = gone.token("k1"), gone.token("k1", jti="t2")
        with guarded_server(home, **trusting(gone)) as guarded:
            assert guarded.try_(token).status_code == 200
            gone.stop()
            assert guarded.try_(kept).status_code == 200
            guarded.server.stop()
        with http_server(home, **GUARDED, **trusting(gone)) as server:
            for _ in range(7):
                answer = server.client.post("/mcp/tools/get_current_agent", headers=bearer(token), json={})
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "issuer_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
                assert "www-authenticate" not in answer.headers
            healthy = server.client.get("/health/ready", headers=elsewhere())
            assert healthy.status_code == 200
            server.stop()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"TMWS_OAUTH_ISSUER": "https://login.example.com"}, "TMWS_OAUTH_AUDIENCE"),
        ({"TMWS_OAUTH_ISSUER": "http://login.example.com", "TMWS_OAUTH_AUDIENCE": "x"}, "TMWS_OAUTH_ISSUER"),
        (
            {"TMWS_OAUTH_ISSUER": "https://x.example", "TMWS_OAUTH_AUDIENCE": "x", "TMWS_OAUTH_JWKS_URL": "http://x"},
            "TMWS_OAUTH_JWKS_URL",
        ),
    ],
)
async def test_server_does_not_start_with_an_issuer_that_it_cannot_trust(
    home: Path, given: dict[str, str], setting: str
) -> None:
    assert settings_of(home).authenticates
    settings = load_settings({"TMWS_HOME": str(home), "TMWS_PORT": "0", **GUARDED, **given}, dotenv=None)
    with pytest.raises(ConfigurationError) as caught:
        await serve_http(settings)
    assert caught.value.setting == setting
    assert caught.value.remedy
