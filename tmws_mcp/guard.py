"""Who may talk to an HTTP server without authentication: not every web page that a browser on this machine shows."""

import re

import attrs
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tmws_core.errors import Forbidden

LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

_PORT = re.compile(r":\d{1,5}$")

_SHOWN = 100
"""Characters of a header in an error."""


def url_host(host: str) -> str:
    """Return a host name or address as URLs and Host headers write it."""
    return f"[{host}]" if ":" in host else host


@attrs.frozen
class Guard:
    """Refuses foreign Host headers (DNS rebinding) and foreign Origins (other sites' pages); an ASGI middleware."""

    app: ASGIApp
    host: str
    any_host: bool
    origins: tuple[str, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or raise Forbidden."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            # Probes speak HTTP/1.0 without a Host, as HAProxy's do. No page can: browsers speak a newer version
            # and name the host in every request, which a page can neither leave out nor change.
            if "host" in headers or scope["http_version"] != "1.0":
                self._check_host(headers.get("host", ""))
            self._check_origin(headers.get("origin"))
        await self.app(scope, receive, send)

    def _check_host(self, host: str) -> None:
        name = _PORT.sub("", host.lower())
        if not self.any_host and name not in {*_LOOPBACK_NAMES, url_host(self.host.lower())}:
            raise Forbidden(action=f"call this server as {host[:_SHOWN]!r}", needs="localhost or 127.0.0.1 as the Host")

    def _check_origin(self, origin: str | None) -> None:
        if origin is None or "*" in self.origins or origin in self.origins:
            return
        if not re.fullmatch(LOOPBACK_ORIGIN, origin):
            raise Forbidden(
                action=f"call this server from {origin[:_SHOWN]!r}", needs="the origin to be in TMWS_CORS_ORIGINS"
            )
