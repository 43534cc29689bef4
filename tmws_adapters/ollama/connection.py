"""Requests to an Ollama server: bounded in time, repeated where that helps."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import attrs
import httpx

from tmws_adapters.cancellation import as_scopes_do
from tmws_adapters.ollama.answers import PART, UNREACHABLE_REMEDY, AnswerLate, json_in
from tmws_adapters.ollama.reconnects import Reconnects
from tmws_adapters.trust import Untrusting, trust_for
from tmws_core.errors import ConfigurationError, EmbedderUnavailable

ATTEMPTS = 4
"""Requests until the server counts as unreachable or busy; with the default base that costs 0.35 s on average."""

CONNECT_TIMEOUT = timedelta(seconds=3)
"""For one TCP connection: enough for a lost SYN to be sent again, which happens after 1 s (RFC 6298)."""

IDLE_TIMEOUT = timedelta(seconds=60)
"""Until a connection that nobody needs is closed: so long it tells of a server that was restarted meanwhile."""

CONNECTIONS = 8
"""At once, most of them for questions (PASSAGE_REQUESTS): Ollama queues what it does not compute."""


@attrs.frozen(kw_only=True)
class Connection:
    """A pool of connections to one server. `address` is its URL without name and password.

    With `untrusting`, no request is made.
    """

    client: httpx.AsyncClient
    address: str
    model: str
    retry_base: timedelta
    reconnects: Reconnects
    untrusting: Untrusting | None

    async def get(self, path: str, limit: timedelta) -> dict[str, Any]:
        """Return the JSON object at a path; see `post` for the errors."""
        return await self._object("GET", path, None, limit)

    async def post(self, path: str, body: dict[str, Any], limit: timedelta) -> dict[str, Any]:
        """Send a JSON object and return the one that is answered.

        Everything, repetitions included, ends within `limit`. Raises RouteMissing, AnswerLate, ModelNotFound or
        another EmbedderUnavailable.
        """
        return await self._object("POST", path, body, limit)

    async def _object(self, method: str, path: str, body: dict[str, Any] | None, limit: timedelta) -> dict[str, Any]:
        if self.untrusting is not None:
            raise EmbedderUnavailable(part=PART, reason=self.untrusting.reason, hint=self.untrusting.hint)
        try:
            with anyio.fail_after(limit.total_seconds()):
                response = await as_scopes_do(partial(self._patiently, method, path, body))
        except TimeoutError as error:
            raise AnswerLate(
                part=PART,
                reason=f"no answer from {self.address} within {limit.total_seconds():g} seconds",
                hint="Check the load of the server, or use a smaller model",
            ) from error
        except httpx.RequestError as error:
            raise EmbedderUnavailable(
                part=PART,
                reason=f"{self.address} does not answer ({str(error) or type(error).__name__})",
                hint=UNREACHABLE_REMEDY,
            ) from error
        return json_in(response, self.model)

    async def _patiently(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """Repeat what a busy or restarting server refuses, after waits with full jitter.

        Each wait is drawn evenly from zero to a ceiling that doubles, so that clients refused together do not return
        together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
        """
        for attempt in range(1, ATTEMPTS):
            try:
                response = await self._once(method, path, body)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                pass
            else:
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return response
            ceiling = self.retry_base.total_seconds() * 2 ** (attempt - 1)
            await anyio.sleep(random.uniform(0, ceiling))  # noqa: S311 - jitter is no secret
        return await self._once(method, path, body)

    async def _once(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        with self.reconnects.request():
            return await self.client.request(method, path, json=body, extensions={"trace": self.reconnects.trace})


@asynccontextmanager
async def open_connection(base_url: str, model: str, retry_base: timedelta) -> AsyncIterator[Connection]:
    """Open a pool; connects with the first request. ConfigurationError if `base_url` is no http or https URL."""
    url = _checked(base_url)
    bare = url.copy_with(username=None, password=None, query=None, fragment=None)
    limits = httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=IDLE_TIMEOUT.total_seconds())
    trust = trust_for(str(bare))
    client = httpx.AsyncClient(
        base_url=bare,
        # Not left in the URL, because httpx logs the URLs of requests.
        auth=httpx.BasicAuth(url.username, url.password) if url.userinfo else None,
        # Given explicitly, because the default one sends texts through the proxies that the environment names.
        transport=httpx.AsyncHTTPTransport(verify=trust.context, limits=limits),
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT.total_seconds()),
    )
    async with client:
        yield Connection(
            client=client,
            address=str(bare),
            model=model,
            retry_base=retry_base,
            reconnects=Reconnects(CONNECTIONS),
            untrusting=trust.problem,
        )


def _checked(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            setting="TMWS_OLLAMA_BASE_URL",
            reason="is no http or https URL",
            hint="Give one such as http://127.0.0.1:11434",
        )
    return url
