"""The application that answers MCP and REST, and one process that serves it."""

import math
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from tmws_adapters.authentication import open_authentication, session_keys
from tmws_adapters.bootstrap import begun, open_parts
from tmws_adapters.local.holding import Holding, replace
from tmws_adapters.local.place import Place
from tmws_adapters.profiles import load_custom_agents
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import TmwsError
from tmws_core.messages.system import HealthCheck
from tmws_core.ports.limits import RateLimiter
from tmws_core.services.authentication import Authentication
from tmws_mcp.auth import Authenticated, CallerOf, Challenging, Resource, proven_caller
from tmws_mcp.clients import LocalClients
from tmws_mcp.contained import Contained, Refused, not_served, refused
from tmws_mcp.endpoint import McpEndpoint, open_endpoint
from tmws_mcp.guard import LOOPBACK_ORIGIN, Guard
from tmws_mcp.hardening import Hardened, OneSpelling, headers_of, trusted_proxies
from tmws_mcp.interpreter import serve_promptly
from tmws_mcp.limiting import AddressLimits, AgentLimits, Places, Rates, Streams
from tmws_mcp.lockout import Lockout
from tmws_mcp.probes import probe_routes
from tmws_mcp.protocol import IDLE_SECONDS, BoundedProtocol
from tmws_mcp.rest import rest_routes
from tmws_mcp.server import FOR_ALL, INSTRUCTIONS, mcp_server
from tmws_mcp.sessions import Sessions
from tmws_mcp.sharing import Claims
from tmws_mcp.stopping import Stop
from tmws_mcp.tasks import ungrouped
from tmws_mcp.tools import Context

ANSWER_SECONDS = 2
"""Seconds beyond the request timeout that a server which ends leaves its requests, to tell of running into that."""


async def serve_on(
    settings: Settings,
    listeners: tuple[socket.socket, ...],
    url: str,
    *,
    heed: Callable[[Stop], Coroutine[Any, Any, None]],
    ready: Callable[[], None],
) -> None:
    """Serve on listening sockets until `heed`, which runs beside, takes up the wish to stop; see `serve_http`.

    Raises:
        Refused: another server owns the database.
        TmwsError: the store cannot be opened; see `open_app`.
    """
    with ungrouped():
        async with (
            _owned(settings, url) as holding,
            open_parts(settings) as parts,
            begun(settings, parts, serving=True) as app,
            open_authentication(settings, parts) as authentication,
            _open_endpoint(app, settings, Sessions(session_keys(settings, parts.clock), parts.cache)) as endpoint,
        ):
            await load_custom_agents(app, settings.operator(transport="file"), settings.home)
            served = application(app, settings, endpoint, parts.limiter, authentication)
            server = _Server(_config(served, settings), ready)
            clients = None if holding is None else LocalClients(holding=holding, settings=settings, idle=math.inf)
            stop = Stop()
            serve_promptly()
            async with anyio.create_task_group() as watching:
                watching.start_soon(heed, stop)
                watching.start_soon(_stop, stop, server, endpoint, clients)
                if clients is not None:
                    watching.start_soon(_stop_when_lost, clients, stop)
                if authentication is not None:
                    watching.start_soon(authentication.run)
                async with anyio.create_task_group() as serving:
                    if clients is not None:
                        clients.open(app)
                        serving.start_soon(clients.run)
                    await server.serve(list(listeners))
                    if clients is not None:
                        clients.stop()
                watching.cancel_scope.cancel()


class _Server(uvicorn.Server):
    """uvicorn, told when to stop instead of watching signals: it would raise them again once it has stopped."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        self._announce()
        await super().main_loop()


@asynccontextmanager
async def _owned(settings: Settings, url: str) -> AsyncIterator[Holding | None]:
    """Own the database for the clients on this machine; one of PostgreSQL has no owner."""
    if settings.uses_postgres:
        yield None
        return
    with ExitStack() as stack:
        yield await anyio.to_thread.run_sync(stack.enter_context, replace(Place(str(settings.place)), url))


async def _stop(stop: Stop, server: _Server, endpoint: McpEndpoint, clients: LocalClients | None) -> None:
    """Stop accepting when it is wished, and waiting for what is running when it is wished again."""
    await stop.asked.wait()
    server.should_exit = True
    endpoint.stop()
    if clients is not None:
        clients.stop()
    await stop.again.wait()
    server.force_exit = True
    if clients is not None:
        clients.abort()


async def _stop_when_lost(clients: LocalClients, stop: Stop) -> None:
    await clients.lost()
    stop.ask()


def _open_endpoint(app: App, settings: Settings, sessions: Sessions) -> AbstractAsyncContextManager[McpEndpoint]:
    operator = settings.operator(transport="mcp-http")

    async def opened() -> App:
        return app

    def caller_of(context: Context) -> Caller:
        return proven_caller(context.request) if settings.authenticates else operator

    instructions = INSTRUCTIONS if settings.authenticates else FOR_ALL
    server = mcp_server(opened, toolsets=settings.mcp_toolsets, caller_of=caller_of, instructions=instructions)
    return open_endpoint(app, server, sessions, settings.timeout.total_seconds())


def application(
    app: App,
    settings: Settings,
    endpoint: McpEndpoint,
    limiter: RateLimiter,
    authentication: Authentication | None = None,
) -> Starlette:
    """Return the ASGI application: all routes, behind the guard, the authentication and the limits.

    Without an `authentication`, settings that want one let nobody in.
    """
    operator = settings.operator(transport="rest")
    caller_of: CallerOf = proven_caller if settings.authenticates else lambda _: operator
    resource = Resource(public_url=settings.public_url, issuer=settings.oauth_issuer)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_origin_regex=LOOPBACK_ORIGIN,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        allow_private_network=True,  # a page that may call may do so from a public address as well
        expose_headers=["mcp-session-id", "x-request-id", "retry-after", "www-authenticate"],
    )
    guard = Middleware(
        Guard,
        host=settings.listen_host,
        any_host=settings.allow_insecure or settings.authenticates,  # no page of another site knows a credential
        origins=settings.cors_origins,
    )
    rates = Rates.of(settings, limiter)
    by_address = Middleware(AddressLimits, rates=rates, authenticates=settings.authenticates)
    by_agent = Middleware(AgentLimits, rates=rates)
    served = Starlette(
        routes=[
            Route("/mcp", endpoint),
            *rest_routes(app, caller_of, settings.timeout.total_seconds()),
            *probe_routes(partial(app.call, operator, HealthCheck()), asks=settings.authenticates),
            *(resource.routes() if settings.authenticates else []),
        ],
        middleware=[
            Middleware(OneSpelling),
            Middleware(Hardened, headers=headers_of(settings)),
            Middleware(Contained),
            guard,
            cors,
            Middleware(Challenging, resource=resource),
            Middleware(Refused),
            Middleware(Places, limit=settings.max_concurrent_requests),
            *([by_address] if settings.limits_rates else []),
            *([_authenticating(authentication)] if authentication else []),
            *([by_agent] if settings.limits_rates else []),
            Middleware(Streams, limit=settings.max_concurrent_requests),
            Middleware(Claims, patience=settings.timeout.total_seconds()),
        ],
        exception_handlers={TmwsError: refused, HTTPException: not_served},
    )
    served.router.redirect_slashes = False  # the redirect would name whatever host the request does
    return served


def _authenticating(authentication: Authentication) -> Middleware:
    return Middleware(Authenticated, authentication=authentication, lockout=Lockout(authentication.clock))


def _config(application: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        log_config=None,
        log_level="error",  # a warning a bad request would let anybody fill the disk
        access_log=False,
        lifespan="off",
        http=BoundedProtocol,
        ws="none",
        forwarded_allow_ips=trusted_proxies(settings),
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.timeout.total_seconds()) + ANSWER_SECONDS,
    )
