"""Who calls over HTTP: an agent that proves it (RFC 6750), at a protected resource that says how (RFC 9728)."""

import re
from collections.abc import Callable

import attrs
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmws_core.domain.agent import Caller
from tmws_core.errors import Unauthenticated
from tmws_core.services.authentication import Attempt, Authentication
from tmws_mcp.contained import Json
from tmws_mcp.limiting import BETTER_KNOWN, caller_of, network_of
from tmws_mcp.lockout import Lockout

CallerOf = Callable[[Request], Caller]
"""Tells in whose name a request comes."""

MCP = "/mcp"

METADATA = "/.well-known/oauth-protected-resource"

_OPEN = frozenset({"/health/live", "/health/ready", "/openapi.json"})
"""What anybody may ask; it tells nothing but that the server is there, and what its program can do."""

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")

_SCHEME = "bearer "


def proven_caller(request: Request | None) -> Caller:
    """Return who has proven to make a request; Unauthenticated if nobody has."""
    caller = None if request is None else caller_of(request.scope)
    if caller is None:
        raise Unauthenticated(reason="No credentials came with the request")
    return caller


@attrs.frozen
class Authenticated:
    """Puts the caller into the `state` of each request, or raises why there is none; an ASGI middleware.

    `user` is for the MCP SDK: it lets a session be used by the agent only that opened it.
    """

    app: ASGIApp
    authentication: Authentication
    lockout: Lockout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or raise Unauthenticated, AgentInactive, LockedOut or PartUnavailable."""
        if scope["type"] == "http" and not _is_open(scope["path"]):
            caller = await self._caller(scope)
            if caller is not None:
                scope["state"]["caller"] = caller
                scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=caller.agent_id, scopes=[]))
        await self.app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller | None:
        sent = Headers(scope=scope).getlist("authorization")
        if not sent and scope["path"] in BETTER_KNOWN:
            return None
        credential = _credential(sent)
        client = scope.get("client")
        attempt = Attempt(
            transport="mcp-http" if scope["path"] == MCP else "rest", address=str(client[0]) if client else "unknown"
        )
        try:
            return await self.authentication.caller(credential, attempt)
        except Unauthenticated as error:
            self.lockout.failed(network_of(client))
            scope["state"]["refused"] = error.problem
            raise


@attrs.frozen(kw_only=True)
class Resource:
    """What this server is to an OAuth client; `issuer` is where clients get tokens, if any is trusted.

    Without `public_url` it is where the client calls it.
    """

    public_url: str
    issuer: str

    def metadata(self, request: Request) -> Response:
        """Answer what a client has to know in order to ask for a token (RFC 9728, section 3.2)."""
        path = request.url.path.removeprefix(METADATA)
        servers = {"authorization_servers": [self.issuer]} if self.issuer else {}
        known = {"resource": self.base(request.scope) + path, **servers}
        return Json({**known, "bearer_methods_supported": ["header"], "resource_name": "TMWS"})

    def routes(self) -> list[Route]:
        """Return the routes of the metadata: of the server, and of its MCP endpoint."""

        async def describe(request: Request) -> Response:
            return self.metadata(request)

        return [Route(METADATA, describe), Route(METADATA + MCP, describe)]

    def base(self, scope: Scope) -> str:
        """Return the base URL, without a slash at its end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = Headers(scope=scope).get("host", "")
        if not _HOST.fullmatch(host):
            name, port = scope.get("server") or ("localhost", None)
            host = name if port is None else f"{name}:{port}"
        return f"{scope['scheme']}://{host}"

    def challenge(self, scope: Scope) -> str:
        """Return the WWW-Authenticate header of a 401 (RFC 6750, section 3; RFC 9728, section 5.1)."""
        where = METADATA + (MCP if scope["path"] == MCP else "")
        parts = {"resource_metadata": self.base(scope) + where}
        refused = scope["state"].get("refused")
        if refused is not None:
            parts = {"error": "invalid_token", "error_description": refused, **parts}
        return "Bearer " + ", ".join(f'{name}="{_quotable(value)}"' for name, value in parts.items())


@attrs.frozen
class Challenging:
    """Adds to each 401 how to authenticate; an ASGI middleware around whatever answers Unauthenticated."""

    app: ASGIApp
    resource: Resource

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def challenging(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:  # noqa: PLR2004 - Unauthorized
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers["www-authenticate"] = self.resource.challenge(scope)
            await send(message)

        await self.app(scope, receive, challenging)


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith("/.well-known/")


def _credential(sent: list[str]) -> str:
    if not sent:
        raise Unauthenticated(reason="No credentials came with the request")
    if len(sent) > 1:
        raise Unauthenticated(reason="More than one Authorization header came with the request")
    scheme, credential = sent[0][: len(_SCHEME)], sent[0][len(_SCHEME) :].strip()
    if scheme.lower() != _SCHEME or not credential:
        raise Unauthenticated(reason="The Authorization header does not hold a Bearer credential")
    return credential


def _quotable(text: str) -> str:
    """Return a text without what would end a quoted string (RFC 6750, section 3)."""
    return re.sub(r"[^\x20\x21\x23-\x5b\x5d-\x7e]", "", text)
