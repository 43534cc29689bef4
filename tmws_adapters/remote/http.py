"""A server that is reached over HTTP: one request an operation."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

import anyio
import attrs
import httpx
import orjson

from tmws_adapters.cancellation import as_scopes_do
from tmws_adapters.local.asking import Lost
from tmws_adapters.remote.failures import PART, ServiceUnreachable, error_of
from tmws_adapters.trust import Untrusting, trust_for
from tmws_core.errors import ConfigurationError, Kind, RequestTimedOut, TmwsError

CONNECT_SECONDS = 5.0
"""For one connection: enough for two lost SYN packets to be sent again, after 1 s and 2 s (RFC 6298)."""

KEPT_SECONDS = 3.0
"""How long a connection without requests is kept: less than the 5 s after which uvicorn hangs up."""

KINDS: Mapping[int, Kind] = {
    HTTPStatus.BAD_REQUEST: Kind.INVALID,
    HTTPStatus.UNAUTHORIZED: Kind.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: Kind.FORBIDDEN,
    HTTPStatus.NOT_FOUND: Kind.NOT_FOUND,
    HTTPStatus.CONFLICT: Kind.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Kind.TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS: Kind.LIMITED,
    HTTPStatus.SERVICE_UNAVAILABLE: Kind.UNAVAILABLE,
}
"""The kind of an error whose code is unknown."""


@attrs.frozen(kw_only=True)
class HttpService:
    """A pool of connections to one server at `address`; `limit` is in seconds, for one request.

    With `untrusting`, no request is made.
    """

    client: httpx.AsyncClient
    address: str
    limit: float
    untrusting: Untrusting | None

    async def ask(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See `Service.ask`."""
        if self.client.is_closed:
            raise ServiceUnreachable(part=PART, reason="the connection was closed", hint="Open it again")
        if self.untrusting is not None:
            raise ServiceUnreachable(part=PART, reason=self.untrusting.reason, hint=self.untrusting.hint)
        try:
            with anyio.fail_after(self.limit):
                response = await as_scopes_do(
                    partial(self.client.post, f"mcp/tools/{name}", content=orjson.dumps(arguments))
                )
        except TimeoutError:
            raise RequestTimedOut(seconds=self.limit) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._unreachable(f"cannot be connected to ({str(error) or type(error).__name__})") from error
        except httpx.RequestError as error:
            raise Lost from error
        return self._result(response)

    def _result(self, response: httpx.Response) -> dict[str, Any]:
        try:
            said = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            said = None
        if isinstance(said, dict) and response.is_success:
            return said
        if isinstance(said, dict) and isinstance(said.get("error"), dict):
            raise self._refusal(said["error"], response.status_code)
        if response.is_server_error:  # of a proxy, which may have passed the request on
            raise Lost
        raise self._unreachable(f"answers with the status {response.status_code}, and not as TMWS does")

    def _refusal(self, error: dict[str, Any], status: int) -> TmwsError:
        return error_of(error, KINDS.get(status, Kind.INTERNAL))

    def _unreachable(self, reason: str) -> ServiceUnreachable:
        return ServiceUnreachable(
            part=PART, reason=f"{self.address} {reason}", hint="Start it with `tmws serve`, or name another URL"
        )


@asynccontextmanager
async def open_http(url: str, token: str | None, limit: timedelta) -> AsyncIterator[HttpService]:
    """Open a pool; it connects with the first request. ConfigurationError if `url` is none that can be asked."""
    base = _checked(url)
    trust = trust_for(str(base))
    client = httpx.AsyncClient(
        base_url=base,
        headers={"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {}),
        # Given explicitly, because the default one sends texts through the proxies that the environment names.
        transport=httpx.AsyncHTTPTransport(verify=trust.context, limits=httpx.Limits(keepalive_expiry=KEPT_SECONDS)),
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
    )
    async with client:
        yield HttpService(client=client, address=str(base), limit=limit.total_seconds(), untrusting=trust.problem)


def _checked(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ConfigurationError(
            setting="url",
            reason="is no http or https URL, or holds a password",
            hint="Give one such as http://127.0.0.1:8000, and a token separately",
        )
    return url
