"""The public keys of an issuer, fetched over HTTP when they are needed (RFC 7517, RFC 8414)."""

import ipaddress
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import anyio
import attrs
import httpx
import jwt
import orjson

from tmws_adapters.cancellation import as_scopes_do
from tmws_adapters.trust import Untrusting, trust_for, without_proxies
from tmws_core.errors import ConfigurationError, IssuerUnavailable
from tmws_core.ports.system import Clock

logger = logging.getLogger("tmws")

ALGORITHMS = ("RS256", "ES256", "EdDSA")

FRESH_SECONDS = 3600.0
"""How long keys are taken for all that the issuer has; what it withdraws is good for that long at most."""

ASK_AGAIN_SECONDS = 30.0
"""Between two fetches: whoever sends tokens with made-up key ids makes no more traffic than this."""

RETRY_SECONDS = 5.0
"""Between two fetches of which the first failed."""

FETCH_SECONDS = 5.0
"""For all requests of one fetch, which callers wait for."""

DOCUMENT_BYTES = 256 * 1024
"""The largest document that is read; key sets of large issuers have 10 KiB."""

KEYS = 100
"""Keys of one issuer that are kept."""


class _Failed(Exception):
    """The issuer has answered, but not with what was asked for."""


@attrs.define(eq=False, kw_only=True)
class IssuerKeys:
    """Keys by their ids, kept for as long as the issuer cannot be asked; safe for any number of tasks.

    Without `url`, the issuer's discovery document tells where they are. With `untrusting`, nothing is asked over https.
    """

    _client: httpx.AsyncClient
    _clock: Clock
    _issuer: str
    _url: str
    _untrusting: Untrusting | None
    _keys: Mapping[str | None, jwt.PyJWK] = attrs.field(factory=dict, init=False)
    _fetched: float | None = attrs.field(default=None, init=False)
    _next: float | None = attrs.field(default=None, init=False)
    _failure: str | None = attrs.field(default=None, init=False)
    _turn: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return a key, or None if the issuer has none of this id; without an id, the only one that it has.

        Raises IssuerUnavailable if it cannot be told, because the issuer cannot be asked.
        """
        known = self._keys.get(key_id)
        if known is not None and (self._is_fresh() or self._turn.locked()):
            return known
        async with self._turn:
            if self._may_ask() and not (key_id in self._keys and self._is_fresh()):
                await self._fetch()
        known = self._keys.get(key_id)
        if known is None and self._failure is not None:
            wait = (self._next or 0.0) - self._clock.monotonic()
            raise IssuerUnavailable(reason=self._failure, retry_after=max(wait, 0.0))
        return known

    def _is_fresh(self) -> bool:
        return self._fetched is not None and self._clock.monotonic() - self._fetched < FRESH_SECONDS

    def _may_ask(self) -> bool:
        return self._next is None or self._clock.monotonic() >= self._next

    async def _fetch(self) -> None:
        try:
            with anyio.fail_after(FETCH_SECONDS):
                self._keys = _keys_of(await as_scopes_do(self._document))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, UnicodeError, _Failed) as error:
            self._failure = f"the issuer's keys cannot be fetched ({str(error) or type(error).__name__})"
            logger.warning("⚠️ %s: %s", self._issuer, self._failure)
        else:
            self._failure = None
            self._fetched = self._clock.monotonic()
        self._next = self._clock.monotonic() + (RETRY_SECONDS if self._failure else ASK_AGAIN_SECONDS)

    async def _document(self) -> dict[str, Any]:
        return await self._get(self._url or await self._discovered())

    async def _discovered(self) -> str:
        for url in discovery_urls(self._issuer):
            try:
                document = await self._get(url)
            except _Failed as error:
                failure = error
                continue
            found = document.get("jwks_uri")
            if document.get("issuer") != self._issuer:
                raise _Failed("its discovery document is of another issuer")
            if not isinstance(found, str) or not _is_safe(found):
                raise _Failed("its discovery document names no https address of keys")
            return found
        raise failure

    async def _get(self, url: str) -> dict[str, Any]:
        if self._untrusting is not None and url.lower().startswith("https:"):
            logger.warning("⚠️ %s: %s. %s", self._issuer, self._untrusting.reason, self._untrusting.hint)
            raise _Failed(self._untrusting.brief)
        body = bytearray()
        async with self._client.stream("GET", url) as response:
            if not response.is_success:
                raise _Failed(f"status {response.status_code}")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > DOCUMENT_BYTES:
                    raise _Failed(f"more than {DOCUMENT_BYTES} bytes")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise _Failed("no JSON object")
        return document


@asynccontextmanager
async def open_keys(issuer: str, url: str, clock: Clock) -> AsyncIterator[IssuerKeys]:
    """Open what fetches keys with the first token; ConfigurationError if they are at no safe address."""
    _check("TMWS_OAUTH_ISSUER", issuer)
    if url:
        _check("TMWS_OAUTH_JWKS_URL", url)
    trust = trust_for("https:")  # its document, which an issuer on this machine shows over http, may name such keys
    client = partial(
        httpx.AsyncClient,
        headers={"accept": "application/json", "accept-encoding": "identity"},
        timeout=httpx.Timeout(FETCH_SECONDS),
        verify=trust.context,
    )
    problem = trust.problem
    try:
        # Through a proxy of the environment, unless it is on this machine.
        opened = client(trust_env=not _is_local(url or issuer))
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        opened, problem = client(trust_env=False), without_proxies(error)
    async with opened:
        yield IssuerKeys(client=opened, clock=clock, issuer=issuer, url=url, untrusting=problem)


def discovery_urls(issuer: str) -> tuple[str, str]:
    """Return where an issuer describes itself: RFC 8414, section 3.1, then OpenID Connect Discovery, section 4."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}",
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
    )


def _check(setting: str, url: str) -> None:
    if not _is_safe(url):
        raise ConfigurationError(
            setting=setting, reason="is no https URL", hint="Give https://…; http is for a loopback address only"
        )


def _is_safe(url: str) -> bool:
    """Tell whether nobody on the way can answer for an address: https, or http on this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_local(url)))


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _keys_of(document: Mapping[str, Any]) -> Mapping[str | None, jwt.PyJWK]:
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise _Failed("no key set")
    usable = [*islice(filter(None, map(_usable, listed)), KEYS)]
    if not usable:
        raise _Failed(f"no usable key for {', '.join(ALGORITHMS)}")
    keys: dict[str | None, jwt.PyJWK] = {key.key_id: key for key in usable}
    if len(usable) == 1:
        keys[None] = usable[0]
    else:
        keys.pop(None, None)
    return keys


def _usable(described: object) -> jwt.PyJWK | None:
    """Return a key of a set, or None where it is of no use: RFC 7517, section 5, has such keys passed over."""
    if not isinstance(described, dict) or not isinstance(described.get("kid"), str | None):
        return None
    try:
        key = jwt.PyJWK(described)
    except Exception:  # noqa: BLE001 - two libraries read what others wrote, and name no errors for what is odd
        return None
    return key if key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig") else None
