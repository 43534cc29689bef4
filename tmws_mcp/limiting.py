"""How often and how much at once HTTP callers may ask."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

from tmws_adapters.settings import Settings
from tmws_core.domain.agent import Caller
from tmws_core.errors import Overloaded, RateLimited, TmwsError
from tmws_core.ports.limits import Rate, RateLimiter

MINUTE = 60.0
"""Seconds."""

STREAMS_EACH = 16
"""Streams on which one agent, or one address, may listen at once: more than it has terminals."""

_COUNTED = "counted"
"""Where a request's state says that it was counted."""

WAITING = "waiting"
"""Where a request's state has what gives its place to others while it waits; see `Places.left`."""

BETTER_KNOWN = frozenset({"/health"})
"""What anybody may ask, and whoever says who it is learns more."""

_UNLIMITED = frozenset({"/health/live", "/health/ready", *BETTER_KNOWN})
"""What is asked by whoever runs the server, every few seconds."""

_ADDRESS_SHOWN = 64
"""Characters of what a proxy calls an address; an IPv6 address has 45."""

_SITE_PREFIX = 64
"""Bits of an IPv6 address that are one site's: the rest it chooses itself."""


def network_of(client: Sequence[object] | None) -> str:
    """Return whom an address belongs to: an IPv4 address, or the first 64 bits of an IPv6 address."""
    host = str(client[0] if client else "unknown")[:_ADDRESS_SHOWN]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _SITE_PREFIX), strict=False))


def caller_of(scope: Scope) -> Caller | None:
    """Return who has proven to make a request, or None."""
    caller: Caller | None = scope.get("state", {}).get("caller")
    return caller


@attrs.frozen(kw_only=True)
class Rates:
    """The limits of the settings, over one limiter."""

    limiter: RateLimiter
    agent: Rate
    address: Rate

    @classmethod
    def of(cls, settings: Settings, limiter: RateLimiter) -> "Rates":
        """Return the limits that the settings want."""
        agent = Rate(requests=settings.rate_limit_requests, seconds=settings.rate_limit_period)
        return cls(limiter=limiter, agent=agent, address=Rate(requests=settings.rate_limit_per_minute, seconds=MINUTE))

    async def count_agent(self, scope: Scope, caller: Caller) -> None:
        """Count a request of an agent; RateLimited if it has no more."""
        await self._count(scope, f"agent:{caller.agent_id}", self.agent, "one agent")

    async def count_address(self, scope: Scope) -> None:
        """Count a request of somebody who has not said who it is; RateLimited if the address has no more."""
        await self._count(scope, f"address:{network_of(scope['client'])}", self.address, "one address")

    async def _count(self, scope: Scope, key: str, rate: Rate, whose: str) -> None:
        scope["state"][_COUNTED] = True
        wait = await self.limiter.take(key, rate)
        if wait:
            limit = f"{whose} may send {rate.requests} in {rate.seconds:g} seconds"
            raise RateLimited(limit=limit, retry_after=wait)


@attrs.frozen
class AddressLimits:
    """Counts whoever has not proven who it is against its address; an ASGI middleware around the authentication.

    A request without credentials is counted before anything is done for it, one with wrong credentials when they have
    turned out to be wrong.
    """

    app: ASGIApp
    rates: Rates
    authenticates: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or raise RateLimited."""
        if scope["path"] in _UNLIMITED:
            await self.app(scope, receive, send)
            return
        if not (self.authenticates and _has_credentials(scope)):
            await self.rates.count_address(scope)
        try:
            await self.app(scope, receive, send)
        except TmwsError:
            if not _is_counted(scope):
                await self.rates.count_address(scope)
            raise


@attrs.frozen
class AgentLimits:
    """Counts whoever has proven who it is, and who sends credentials that nobody asked for; inside AddressLimits."""

    app: ASGIApp
    rates: Rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or raise RateLimited."""
        caller = caller_of(scope)
        if scope["path"] in _UNLIMITED:
            pass
        elif caller is not None:
            await self.rates.count_agent(scope, caller)
        elif not _is_counted(scope):
            await self.rates.count_address(scope)
        await self.app(scope, receive, send)


@attrs.define
class Places:
    """Runs at most `limit` requests at once, and tells even then how the server is; an ASGI middleware.

    Streams that a client listens on are no requests: they wait, and have their own bound, see `Streams`. Nor are
    questions how the server is, which are answered together: their bound is that of the connections.
    """

    app: ASGIApp
    limit: int
    _running: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or raise Overloaded."""
        if _is_probe(scope) or _is_stream(scope):
            await self.app(scope, receive, send)
            return
        if self._running >= self.limit:
            raise Overloaded
        scope["state"][WAITING] = self.left
        self._running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._running -= 1

    @contextmanager
    def left(self) -> Iterator[None]:
        """Leave a request's place to others for a while; Overloaded if there is none when it wants to go on."""
        self._running -= 1
        try:
            yield
        finally:
            self._running += 1
        if self._running > self.limit:
            raise Overloaded


@attrs.frozen
class Streams:
    """Bounds the streams on which clients listen, for each agent or address and for all; an ASGI middleware."""

    app: ASGIApp
    limit: int
    _open: Counter[str] = attrs.field(factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or raise Overloaded or RateLimited."""
        if not _is_stream(scope):
            await self.app(scope, receive, send)
            return
        caller = caller_of(scope)
        listener = network_of(scope.get("client")) if caller is None else caller.agent_id
        if self._open.total() >= self.limit:
            raise Overloaded
        if self._open[listener] >= STREAMS_EACH:
            raise RateLimited(limit=f"{STREAMS_EACH} streams are open already", retry_after=1)
        self._open[listener] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._open[listener] -= 1
            if not self._open[listener]:
                del self._open[listener]


def _has_credentials(scope: Scope) -> bool:
    return any(name == b"authorization" for name, _ in scope["headers"])


def _is_probe(scope: Scope) -> bool:
    """Tell whether a request asks how the server is, and nobody has to find out who it is from."""
    return scope["path"] in _UNLIMITED and not (scope["path"] in BETTER_KNOWN and _has_credentials(scope))


def _is_counted(scope: Scope) -> bool:
    return _COUNTED in scope["state"]


def _is_stream(scope: Scope) -> bool:
    return (scope["method"], scope["path"]) == ("GET", "/mcp")
