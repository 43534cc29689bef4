"""What every answer says to browsers, and which proxies are believed."""

import ipaddress

import attrs
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmws_adapters.settings import Settings
from tmws_core.errors import ConfigurationError

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""An answer is data: nothing in it runs, is framed, is embedded by another site, or stays in a cache."""

_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")
"""A year: the shortest time that browsers' own lists take."""


def headers_of(settings: Settings) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every answer."""
    return (*HEADERS, _HTTPS_ONLY) if settings.public_url.lower().startswith("https://") else HEADERS


@attrs.frozen
class Hardened:
    """Adds headers to each answer that does not bring them itself, as a page for people does; an ASGI middleware."""

    app: ASGIApp
    headers: tuple[tuple[bytes, bytes], ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [header for header in self.headers if header[0] not in names]
            await send(message)

        await self.app(scope, receive, hardened)


@attrs.frozen
class OneSpelling:
    """Takes `/mcp/` for `/mcp`, as many clients are configured: a redirect would need a host; an ASGI middleware."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == "/mcp/":
            scope = {**scope, "path": "/mcp", "raw_path": b"/mcp"}
        await self.app(scope, receive, send)


def trusted_proxies(settings: Settings) -> list[str]:
    """Return the proxies whose X-Forwarded-For is believed, as uvicorn reads them.

    Raises:
        ConfigurationError: one is neither an address, nor a network, nor `*`.
    """
    for proxy in settings.trusted_proxies:
        try:
            if proxy != "*":
                ipaddress.ip_network(proxy)
        except ValueError:
            raise ConfigurationError(
                setting="TMWS_TRUSTED_PROXIES",
                reason=f"{proxy[:100]!r} is no address and no network",
                hint="Give addresses such as 10.0.0.2, networks such as 10.0.0.0/8, or * for any",
            ) from None
    return ["*"] if "*" in settings.trusted_proxies else list(settings.trusted_proxies)
