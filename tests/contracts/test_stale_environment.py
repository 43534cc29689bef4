"""What other software leaves in the environment: certificates that are gone, or proxies that nobody can read."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.contracts.chroma_server import free_port
from tests.contracts.chroma_steps import refusal
from tests.contracts.issuer_double import AUDIENCE, issuer_double
from tests.contracts.ollama_double import MODEL, ollama_double
from tests.contracts.redis_steps import local
from tmws_adapters.chroma import open_chroma
from tmws_adapters.ollama import open_ollama
from tmws_adapters.redis import redis_at
from tmws_adapters.remote.failures import ServiceUnreachable
from tmws_adapters.remote.http import open_http
from tmws_adapters.secret import Secrets
from tmws_adapters.system import SystemClock
from tmws_adapters.tokens import ExternalIssuer, open_tokens
from tmws_core.errors import EmbedderUnavailable, IssuerUnavailable, PartUnavailable

pytestmark = pytest.mark.anyio

SECONDS = timedelta(seconds=30)


@pytest.fixture(params=["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def stale(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    name: str = request.param
    monkeypatch.setenv(name, str(tmp_path / "gone" / "file"))
    return name


async def read(issuer: str, jwks: str = "", *, signed: str) -> str:
    trusted = ExternalIssuer(name=issuer, audience=AUDIENCE, jwks_url=jwks)
    async with open_tokens(Secrets(current="a secret key of a test, long enough"), SystemClock(), trusted) as tokens:
        return (await tokens.read(signed)).agent_id


async def test_without_tls_nothing_of_it_is_read(stale: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with ollama_double() as ollama:
        async with open_ollama(ollama.url, MODEL) as embedder:
            assert (await embedder.query("words")).dimension
    async with open_chroma(directory=None, url=nowhere) as index:
        assert "does not answer" in (said := await refusal(index)), stale
        assert "TLS" not in said
    async with open_http(nowhere, None, SECONDS) as service:
        with pytest.raises(ServiceUnreachable, match="cannot be connected to"):
            await service.ask("health_check", {})
    with issuer_double() as issuer:
        assert await read(issuer.url, signed=issuer.token()) == "ada"


async def test_with_tls_a_part_says_what_to_do_and_nothing_else_fails(stale: str) -> None:
    async with open_ollama("https://127.0.0.1:1", MODEL) as embedder:
        assert f"which {stale} names" in (await embedder.health()).reason
        with pytest.raises(EmbedderUnavailable, match=f"Unset {stale}"):
            await embedder.query("words")
    async with open_chroma(directory=None, url="https://127.0.0.1:1") as index:
        assert f"Unset {stale}" in await refusal(index)
    async with open_http("https://127.0.0.1:1", None, SECONDS) as service:
        with pytest.raises(ServiceUnreachable, match=f"Unset {stale}"):
            await service.ask("health_check", {})
    with issuer_double() as issuer, pytest.raises(IssuerUnavailable, match=stale) as caught:
        await read(issuer.url, "https://127.0.0.1:1/jwks", signed=issuer.token())
    assert "gone" not in caught.value.message  # whoever sends tokens is not told the paths of this machine


async def test_redis_says_what_to_do_about_a_log_of_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "gone" / "file"))
    redis = redis_at("rediss://127.0.0.1:1", local(), pool_size=1)
    with pytest.raises(PartUnavailable, match="Unset SSLKEYLOGFILE"):
        await redis.server.examine()


@pytest.mark.parametrize(("name", "value"), [("NO_PROXY", "fe80::/10"), ("ALL_PROXY", "socks4://127.0.0.1:1")])
async def test_proxies_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ValueError, httpx.InvalidURL)):
        httpx.Client()
    with ollama_double() as ollama:
        async with open_ollama(ollama.url, MODEL) as embedder:
            assert (await embedder.query("words")).dimension
    async with open_chroma(directory=None, url="http://127.0.0.1:1") as index:
        assert "Correct ALL_PROXY, HTTP_PROXY, HTTPS_PROXY and NO_PROXY" in await refusal(index)
    with issuer_double() as issuer, pytest.raises(IssuerUnavailable, match="proxies of the environment"):
        await read(issuer.url, "https://issuer.invalid/jwks", signed=issuer.token())
