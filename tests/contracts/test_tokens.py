"""The contract of TokenReader and TokenWriter: our own tokens, and every way in which a token is not good."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.contracts.issuer_double import AUDIENCE
from tmws_adapters.secret import Secrets
from tmws_adapters.system import SystemClock
from tmws_adapters.tokens import ExternalIssuer, OwnTokens, Tokens, open_tokens
from tmws_core.errors import ConfigurationError, Unauthenticated

pytestmark = pytest.mark.anyio

SECRET = "a secret key of a test, long enough"
FORMER = "the secret key before it, as long"
NOW = SystemClock().now().replace(microsecond=0)
HOUR = timedelta(hours=1)

NO_NAMES: tuple[Any, ...] = ("\ud800", "a\udfffb", "a\x00b", "", " ", "x" * 5000, 1, True, {"a": []})
NO_TIMES: tuple[Any, ...] = (float("inf"), float("nan"), "9" * 5000, {}, "")


@attrs.frozen
class At:
    """A clock that stands."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@pytest.fixture
async def tokens() -> AsyncIterator[Tokens]:
    async with open_tokens(Secrets(current=SECRET), SystemClock()) as opened:
        yield opened


def written(secret: str = SECRET, *, at: datetime = NOW, expires_at: datetime = NOW + HOUR) -> str:
    writer = OwnTokens(secrets=Secrets(current=secret), clock=SystemClock())
    return writer.write("t1", "ada", at=at, expires_at=expires_at)


def claims(**changes: Any) -> dict[str, Any]:
    second = int(NOW.timestamp())
    good = {
        "iss": "tmws",
        "aud": "tmws",
        "sub": "ada",
        "iat": second,
        "nbf": second,
        "exp": second + 3600,
        "jti": "t1",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(algorithm: str | None = "HS256", key: Any = SECRET, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm)


def odd(name: str, value: Any) -> str:
    changes: dict[str, Any] = {name: value}
    return signed(**changes)


def nested(name: str) -> str:
    """Return a token with a claim of thousands of brackets, which `json` gives up on."""
    head = part({"alg": "HS256", "typ": "JWT"})
    told = json.dumps(claims(**{name: "@"})).replace('"@"', "[" * 2500 + "]" * 2500)
    text = f"{head}.{part(told.encode())}"
    return f"{text}.{part(hmac.digest(SECRET.encode(), text.encode(), 'sha256'))}"


def part(value: object) -> str:
    return (
        base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().strip("=")
    )


async def refusal(tokens: Tokens, text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.read(text)
    assert caught.value.remedy
    assert "ada" not in caught.value.message
    assert SECRET not in repr(caught.value)
    return caught.value.problem


async def test_token_says_what_was_written(tokens: Tokens) -> None:
    token = await tokens.read(written())
    assert (token.agent_id, token.id, token.expires_at, token.issuer) == ("ada", "t1", NOW + HOUR, "tmws")


async def test_token_is_one_that_any_library_reads() -> None:
    read = jwt.decode(written(), SECRET, ["HS256"], audience="tmws", issuer="tmws")
    assert read == claims()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (signed(exp=1), "The token has expired"),
        (signed(exp=int(NOW.timestamp()) - 1), "The token has expired"),
        (signed(nbf=int(NOW.timestamp()) + 10**6), "The token is not valid yet"),
        (signed(iat=int(NOW.timestamp()) + 10**6), "The token is not valid yet"),
        (signed(aud="other"), "The token is for another audience"),
        (signed(aud=["other", "tmws2"]), "The token is for another audience"),
        (signed(iss="other"), "The token is from another issuer"),
        (signed(key="another secret key, which is long too"), "The signature of the token is wrong"),
        (signed(algorithm=None, key=None), "The token is not signed with an algorithm that is accepted here"),
        (signed(algorithm="HS512", key=SECRET * 2), "The token is not signed with an algorithm that is accepted here"),
        (
            signed(algorithm="ES256", key=ec.generate_private_key(ec.SECP256R1())),
            "The token is not signed with an algorithm that is accepted here",
        ),
        *((signed(**dict.fromkeys([name])), f"The token lacks the claim {name}") for name in claims()),
        *((odd(name, ["x"]), "The token is malformed") for name in ("sub", "jti", "exp", "nbf", "iat")),
        *((odd(name, value), "The token is malformed") for name in ("sub", "jti") for value in NO_NAMES),
        *((odd(name, value), "The token is malformed") for name in ("exp", "nbf", "iat") for value in NO_TIMES),
        *((signed(exp=value), "The token is malformed") for value in ("99999999999", "\uff19" * 11)),
        *((nested(name), "The token is malformed") for name in ("sub", "jti", "exp", "nbf", "iat")),
        (signed(exp=10**30), "The token is malformed"),
        (signed(exp="never"), "The token is malformed"),
        ("..", "The token is malformed"),
        ("a.b.c", "The token is malformed"),
        (f"{part({})}.{part({})}.", "The token is not signed with an algorithm that is accepted here"),
        (f"{part([])}.{part({})}.{part(b'x')}", "The token is malformed"),
        (f"{part(b'[' * 5000)}.{part({})}.{part(b'x')}", "The token is malformed"),
        (
            f"{part({'alg': ['HS256']})}.{part({})}.{part(b'x')}",
            "The token is not signed with an algorithm that is accepted here",
        ),
        (f"{part({'alg': 'HS256', 'kid': 1})}.{part({})}.{part(b'x')}", "The token is malformed"),
        ("\udcff.\udcff.\udcff", "The token is malformed"),
        ("\x00.\x00.\x00", "The token is malformed"),
    ],
)
async def test_bad_token_is_refused_with_a_reason_of_its_own(tokens: Tokens, text: str, reason: str) -> None:
    assert await refusal(tokens, text) == reason


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
async def test_unsigned_token_is_refused_however_it_says_so(tokens: Tokens, alg: str) -> None:
    head, body, signature = signed().split(".")
    for end in ("", signature):
        forged = f"{part({'alg': alg, 'typ': 'JWT'})}.{body}.{end}"
        assert await refusal(tokens, forged) == "The token is not signed with an algorithm that is accepted here"
    assert await refusal(tokens, f"{head}.{body}.") == "The signature of the token is wrong"


async def test_token_with_any_part_changed_is_refused(tokens: Tokens) -> None:
    head, body, signature = signed().split(".")
    other = part(claims(sub="eve"))
    assert await refusal(tokens, f"{head}.{other}.{signature}") == "The signature of the token is wrong"
    for place in range(0, len(signature) - 1, 7):
        flipped = "A" if signature[place] != "A" else "B"
        changed = signature[:place] + flipped + signature[place + 1 :]
        assert await refusal(tokens, f"{head}.{body}.{changed}") == "The signature of the token is wrong"


async def test_former_secret_is_good_until_its_time_is_over() -> None:
    for until, now, good in (
        (None, NOW, True),
        (NOW, NOW - HOUR, True),
        (NOW, NOW - timedelta(microseconds=1), True),
        (NOW, NOW, False),
        (NOW, NOW + HOUR, False),
    ):
        secrets = Secrets(current=SECRET, previous=FORMER, previous_until=until)
        async with open_tokens(secrets, At(now)) as tokens:
            assert (await tokens.read(written(SECRET))).id == "t1"
            if good:
                assert (await tokens.read(written(FORMER))).id == "t1"
            else:
                assert await refusal(tokens, written(FORMER)) == "The signature of the token is wrong"


async def test_new_secret_ends_all_tokens_of_the_old_one(tokens: Tokens) -> None:
    assert await refusal(tokens, written(FORMER)) == "The signature of the token is wrong"


async def test_tokens_are_written_with_the_current_secret_only() -> None:
    writer = OwnTokens(secrets=Secrets(current=SECRET, previous=FORMER), clock=SystemClock())
    text = writer.write("t1", "ada", at=NOW, expires_at=NOW + HOUR)
    assert jwt.decode(text, SECRET, ["HS256"], audience="tmws")["sub"] == "ada"


async def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(Secrets(current=SECRET, previous=SECRET, previous_until=datetime.now(UTC)))  # noqa: TID251


@pytest.mark.parametrize("url", ["http://login.example.com", "ftp://x", "login.example.com", "https://", "http://["])
async def test_issuer_at_an_unsafe_address_is_refused(url: str) -> None:
    for issuer, setting in (
        (ExternalIssuer(name=url, audience=AUDIENCE), "TMWS_OAUTH_ISSUER"),
        (ExternalIssuer(name="https://x.example", audience=AUDIENCE, jwks_url=url), "TMWS_OAUTH_JWKS_URL"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            async with open_tokens(Secrets(current=SECRET), SystemClock(), issuer):
                pass
        assert caught.value.setting == setting
