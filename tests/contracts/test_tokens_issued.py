"""Tokens of an external issuer: its keys are found, kept, renewed, and needed no more often than they change."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contracts.issuer_double import AUDIENCE, IssuerDouble, issuer_double, public_key
from tmws_adapters.secret import Secrets
from tmws_adapters.system import SystemClock
from tmws_adapters.tokens import ExternalIssuer, Tokens, open_tokens
from tmws_adapters.tokens.keys import ASK_AGAIN_SECONDS, DOCUMENT_BYTES, FRESH_SECONDS, RETRY_SECONDS
from tmws_core.errors import IssuerUnavailable, Unauthenticated
from tmws_core.ports.system import Clock

pytestmark = pytest.mark.anyio

SECRET = "a secret key of a test, long enough"
UNKNOWN_KEY = "The token is signed with a key that its issuer does not have"


@attrs.define
class Ahead:
    """The machine's clock, a while ahead."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return SystemClock().now()

    def monotonic(self) -> float:
        return time.perf_counter() + self.seconds


@pytest.fixture
def issuer() -> Iterator[IssuerDouble]:
    with issuer_double() as double:
        yield double


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


@asynccontextmanager
async def opened(issuer: IssuerDouble, clock: Clock, *, jwks: str = "", claim: str = "sub") -> AsyncIterator[Tokens]:
    trusted = ExternalIssuer(name=issuer.url, audience=AUDIENCE, agent_claim=claim, jwks_url=jwks)
    async with open_tokens(Secrets(current=SECRET), clock, trusted) as tokens:
        yield tokens


@pytest.fixture
async def tokens(issuer: IssuerDouble, clock: Ahead) -> AsyncIterator[Tokens]:
    async with opened(issuer, clock) as reader:
        yield reader


async def refusal(tokens: Tokens, text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.read(text)
    return caught.value.problem


async def unavailable(tokens: Tokens, text: str) -> str:
    with pytest.raises(IssuerUnavailable) as caught:
        await tokens.read(text)
    assert 0 <= caught.value.retry_after <= ASK_AGAIN_SECONDS
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_token_of_the_issuer_is_good(issuer: IssuerDouble, tokens: Tokens, algorithm: str) -> None:
    issuer.show("k1", algorithm=algorithm)
    token = await tokens.read(issuer.token(algorithm=algorithm))
    assert (token.agent_id, token.id, token.issuer) == ("ada", "t1", issuer.url)


async def test_own_tokens_need_no_issuer(issuer: IssuerDouble, tokens: Tokens) -> None:
    own = tokens.own.write("t1", "ada", at=tokens.own.clock.now(), expires_at=tokens.own.clock.now().replace(year=2099))
    assert (await tokens.read(own)).issuer == "tmws"
    assert issuer.asked == []


async def test_agent_is_named_by_the_claim_of_the_settings(issuer: IssuerDouble, clock: Ahead) -> None:
    async with opened(issuer, clock, claim="agent") as tokens:
        assert (await tokens.read(issuer.token(agent="bob", jti=None))).agent_id == "bob"
        assert await refusal(tokens, issuer.token()) == "The token lacks the claim agent"
        assert await refusal(tokens, issuer.token(agent=["bob"])) == "The token is malformed"


async def test_token_that_is_not_for_us_is_refused(issuer: IssuerDouble, tokens: Tokens) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert await refusal(tokens, issuer.token(aud="https://other.example/mcp")) == "The token is for another audience"
    assert await refusal(tokens, issuer.token(iss="https://other.example")) == "The token is from another issuer"
    assert await refusal(tokens, issuer.token(exp=1)) == "The token has expired"
    assert await refusal(tokens, issuer.token(nbf=2**40)) == "The token is not valid yet"
    assert await refusal(tokens, issuer.token(private=other)) == "The signature of the token is wrong"
    assert await refusal(tokens, issuer.token(aud=None)) == "The token lacks the claim aud"
    for odd in (
        {"sub": "\ud800"},
        {"jti": "\udfff"},
        {"jti": "a\x00"},
        {"sub": ""},
        {"jti": 7},
        {"exp": "99999999999"},
    ):
        assert await refusal(tokens, issuer.token(**odd)) == "The token is malformed"
    assert (await tokens.read(issuer.token(aud=[AUDIENCE, "x"]))).agent_id == "ada"


async def test_public_key_is_no_secret_to_sign_with(issuer: IssuerDouble, tokens: Tokens) -> None:
    shown = issuer.pages["/jwks"]["keys"][0]["n"]
    forged = jwt.encode({"iss": issuer.url, "aud": AUDIENCE, "sub": "ada", "exp": 2**40}, shown, "HS256", {"kid": "k1"})
    assert await refusal(tokens, forged) == "The signature of the token is wrong"


async def test_symmetric_and_foreign_keys_of_the_issuer_are_passed_over(issuer: IssuerDouble, tokens: Tokens) -> None:
    oct_key = {"kty": "oct", "kid": "k2", "k": "c2VjcmV0IGtleSBvZiBhIHRlc3QsIGxvbmcgZW5vdWdo"}
    for_secrets = public_key("RS256", "k3") | {"use": "enc"}
    large = public_key("RS256", "k4", alg="RS512")
    issuer.pages["/jwks"]["keys"] += [oct_key, for_secrets, large, {"kty": "new"}, "nonsense", None]
    assert (await tokens.read(issuer.token("k1"))).agent_id == "ada"
    for key_id in ("k2", "k3", "k4"):
        assert await refusal(tokens, issuer.token(key_id)) == UNKNOWN_KEY


async def test_short_key_of_the_issuer_is_too_weak(issuer: IssuerDouble, tokens: Tokens) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issuer.pages["/jwks"] = {"keys": [public_key("RS256", "k1", short)]}
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        text = issuer.token(private=short)
    assert await refusal(tokens, text) == "The token is signed with a key that is too weak"


async def test_key_without_an_id_is_found_if_it_is_the_only_one(
    issuer: IssuerDouble, tokens: Tokens, clock: Ahead
) -> None:
    assert (await tokens.read(issuer.token(None))).agent_id == "ada"
    issuer.show("k1", "k2")
    clock.seconds += FRESH_SECONDS + 1
    assert await refusal(tokens, issuer.token(None)) == UNKNOWN_KEY


async def test_keys_are_fetched_once_and_renewed_hourly(issuer: IssuerDouble, tokens: Tokens, clock: Ahead) -> None:
    once = ["/.well-known/oauth-authorization-server", "/jwks"]
    for _ in range(5):
        await tokens.read(issuer.token())
    assert issuer.asked == once
    clock.seconds += FRESH_SECONDS + 1
    for _ in range(5):
        await tokens.read(issuer.token())
    assert issuer.asked == once * 2


async def test_new_key_is_found_and_made_up_ones_make_no_traffic(
    issuer: IssuerDouble, tokens: Tokens, clock: Ahead
) -> None:
    await tokens.read(issuer.token("k1"))
    issuer.show("k2")
    for _ in range(5):
        assert await refusal(tokens, issuer.token("k2")) == UNKNOWN_KEY
    assert issuer.asked.count("/jwks") == 1
    clock.seconds += ASK_AGAIN_SECONDS + 1
    assert (await tokens.read(issuer.token("k2"))).agent_id == "ada"
    assert await refusal(tokens, issuer.token("k1")) == UNKNOWN_KEY
    assert issuer.asked.count("/jwks") == 2


async def test_many_tokens_at_once_wait_for_one_fetch(issuer: IssuerDouble, tokens: Tokens) -> None:
    issuer.delay = 0.1
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(tokens.read, issuer.token())
    assert issuer.asked.count("/jwks") == 1


async def test_kept_keys_work_while_the_issuer_is_down(issuer: IssuerDouble, tokens: Tokens, clock: Ahead) -> None:
    await tokens.read(issuer.token())
    issuer.status = 500
    for _ in range(3):
        clock.seconds += FRESH_SECONDS + 1
        assert (await tokens.read(issuer.token())).agent_id == "ada"
    assert "cannot be fetched" in await unavailable(tokens, issuer.token("k2"))


async def test_token_is_not_called_bad_while_nobody_can_tell(
    issuer: IssuerDouble, tokens: Tokens, clock: Ahead
) -> None:
    issuer.status = 503
    for _ in range(5):
        assert "cannot be fetched" in await unavailable(tokens, issuer.token())
    asked = len(issuer.asked)
    assert asked <= 2
    issuer.status = 200
    clock.seconds += RETRY_SECONDS + 1
    assert (await tokens.read(issuer.token())).agent_id == "ada"


async def test_issuer_that_is_gone_is_unavailable(clock: Ahead) -> None:
    with issuer_double() as gone:
        text = gone.token()
    async with opened(gone, clock) as tokens:
        assert "cannot be fetched" in await unavailable(tokens, text)


ODD: tuple[dict[str, object], ...] = (
    {"kid": ["k1"]},
    {"kid": {}},
    {"kid": 1},
    {"kid": "k2", "alg": ["ES256"]},
    {"kid": "k2", "alg": 3},
    {"kid": "k2", "kty": ["EC"]},
    {"kid": "k2", "crv": [1]},
    {"kid": "k2", "x": 3},
    {"kid": "k2", "y": "é"},
    {"kid": "k2", "use": ["sig"]},
)
"""What makes a good key an odd one."""

ODD_KEYS: tuple[object, ...] = (
    "a word",
    None,
    [],
    *(public_key("ES256", None) | odd for odd in ODD),
    {"kty": "RSA", "kid": "k2", "n": "", "e": ""},
    {"kty": "RSA", "kid": "k2", "n": [], "e": {}},
    {"kty": "OKP", "kid": "k2", "crv": "Ed25519", "x": "AA"},
)


@pytest.mark.parametrize("odd", ODD_KEYS)
async def test_an_odd_key_of_a_set_is_passed_over(issuer: IssuerDouble, tokens: Tokens, odd: object) -> None:
    issuer.pages["/jwks"] = {"keys": [odd, public_key("RS256", "k1")]}
    assert (await tokens.read(issuer.token())).agent_id == "ada"


@pytest.mark.parametrize("odd", ODD_KEYS)
async def test_a_set_of_odd_keys_takes_nothing_away_and_is_not_asked_for_with_each_token(
    issuer: IssuerDouble, clock: Ahead, tokens: Tokens, odd: object
) -> None:
    assert (await tokens.read(issuer.token())).agent_id == "ada"
    issuer.pages["/jwks"] = {"keys": [odd]}
    clock.seconds += FRESH_SECONDS + 1
    issuer.asked.clear()
    for _ in range(3):
        assert (await tokens.read(issuer.token())).agent_id == "ada"
        await unavailable(tokens, issuer.token("k3"))
    assert issuer.asked.count("/jwks") == 1


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"nonsense",
        b"[]",
        b"[" * 10_000,
        {},
        {"keys": []},
        {"keys": "k1"},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
    ],
)
async def test_what_is_no_key_set_is_a_failure_of_the_issuer(
    issuer: IssuerDouble, tokens: Tokens, page: object
) -> None:
    issuer.pages["/jwks"] = page
    assert "cannot be fetched" in await unavailable(tokens, issuer.token())


async def test_document_without_end_is_a_failure_of_the_issuer(issuer: IssuerDouble, tokens: Tokens) -> None:
    issuer.pages["/jwks"] |= {"padding": "x" * DOCUMENT_BYTES}
    assert str(DOCUMENT_BYTES) in await unavailable(tokens, issuer.token())


async def test_an_address_that_cannot_be_looked_up_is_a_failure_of_the_issuer(
    issuer: IssuerDouble, tokens: Tokens
) -> None:
    """A label of a host name has 63 characters at most, which only the look-up finds."""
    issuer.pages["/.well-known/oauth-authorization-server"] |= {"jwks_uri": f"https://{'a' * 64}.example/jwks"}
    for _ in range(3):
        assert "cannot be fetched" in await unavailable(tokens, issuer.token())
    assert len(issuer.asked) == 1


async def test_keys_are_found_where_openid_connect_tells(issuer: IssuerDouble, tokens: Tokens) -> None:
    issuer.pages["/.well-known/openid-configuration"] = issuer.pages.pop("/.well-known/oauth-authorization-server")
    assert (await tokens.read(issuer.token())).agent_id == "ada"


async def test_address_of_the_settings_saves_the_discovery(issuer: IssuerDouble, clock: Ahead) -> None:
    async with opened(issuer, clock, jwks=f"{issuer.url}/jwks") as tokens:
        assert (await tokens.read(issuer.token())).agent_id == "ada"
    assert issuer.asked == ["/jwks"]


@pytest.mark.parametrize(
    "changes",
    [{"issuer": "https://other.example"}, {"jwks_uri": "http://other.example/jwks"}, {"jwks_uri": 1}, {"issuer": None}],
)
async def test_discovery_is_believed_only_of_the_issuer_itself_and_of_safe_addresses(
    issuer: IssuerDouble, tokens: Tokens, changes: dict[str, object]
) -> None:
    issuer.pages["/.well-known/oauth-authorization-server"] |= changes
    assert "discovery" in await unavailable(tokens, issuer.token())
    assert issuer.asked == ["/.well-known/oauth-authorization-server"]
