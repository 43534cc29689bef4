"""MCP and REST over HTTP."""

import logging
import math
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from tmws_adapters.authentication import open_authentication
from tmws_adapters.bootstrap import begun, open_parts
from tmws_adapters.local.holding import Holding, replace
from tmws_adapters.local.place import Place
from tmws_adapters.profiles import load_custom_agents
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import TmwsError
from tmws_core.ports.limits import RateLimiter
from tmws_core.services.authentication import Authentication
from tmws_mcp.auth import Authenticated, CallerOf, Challenging, Resource, proven_caller
from tmws_mcp.clients import LocalClients
from tmws_mcp.contained import Contained, Refused, not_served, refused
from tmws_mcp.endpoint import McpEndpoint, open_endpoint
from tmws_mcp.guard import LOOPBACK_ORIGIN, Guard
from tmws_mcp.hardening import Hardened, headers_of, trusted_proxies
from tmws_mcp.limiting import AddressLimits, AgentLimits, Places, Rates, Streams
from tmws_mcp.listening import check_exposure, listen, url_of
from tmws_mcp.lockout import Lockout
from tmws_mcp.probes import probe_routes
from tmws_mcp.protocol import IDLE_SECONDS, BoundedProtocol
from tmws_mcp.rest import rest_routes
from tmws_mcp.server import mcp_server
from tmws_mcp.tasks import ungrouped
from tmws_mcp.tools import Context

logger = logging.getLogger("tmws")


async def serve_http(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then what is running is finished, for as long as a request may take.

    The agent terminals of this machine are served, too: the server takes over from the owner that they have started.
    `ready` gets the base URL once requests are answered.

    Raises:
        ConfigurationError: the server may not or cannot listen where it should.
        Refused: another server owns the database.
        TmwsError: the store cannot be opened; see `open_app`.
    """
    check_exposure(settings)
    with await anyio.to_thread.run_sync(listen, settings.listen_host, settings.port) as listener:
        url = url_of(settings.listen_host, listener)

        def announce() -> None:
            logger.info("✅ MCP server started on %s", url)
            if ready is not None:
                ready(url)

        with ungrouped():
            async with (
                _owned(settings, url) as holding,
                open_parts(settings) as parts,
                begun(settings, parts, serving=True) as app,
                open_authentication(settings, parts) as authentication,
                _open_endpoint(app, settings) as endpoint,
            ):
                await load_custom_agents(app, settings.operator("file"), settings.home)
                clients = LocalClients(holding=holding, settings=settings, idle=math.inf)
                clients.open(app)
                server = _Server(
                    _config(application(app, settings, endpoint, parts.limiter, authentication), settings), announce
                )
                async with anyio.create_task_group() as watching:
                    watching.start_soon(_stop_on_signal, server, endpoint, clients)
                    if authentication is not None:
                        watching.start_soon(authentication.run)
                    async with anyio.create_task_group() as serving:
                        serving.start_soon(clients.run)
                        await server.serve([listener])
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
async def _owned(settings: Settings, url: str) -> AsyncIterator[Holding]:
    with ExitStack() as stack:
        # Any number of servers share a database of PostgreSQL: each has a place of its own.
        suffix = f"-{urlsplit(url).port}" if settings.uses_postgres else ""
        place = Place(f"{settings.place}{suffix}")
        yield await anyio.to_thread.run_sync(stack.enter_context, replace(place, url))


async def _stop_on_signal(server: _Server, endpoint: McpEndpoint, clients: LocalClients) -> None:
    """Stop accepting at the first signal, and waiting for what is running at the second."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if server.should_exit:
                server.force_exit = True
                clients.abort()
            server.should_exit = True
            endpoint.stop()
            clients.stop()


def _open_endpoint(app: App, settings: Settings) -> AbstractAsyncContextManager[McpEndpoint]:
    operator = settings.operator("mcp-http")

    async def opened() -> App:
        return app

    def caller_of(context: Context) -> Caller:
        return proven_caller(context.request) if settings.authenticates else operator

    server = mcp_server(opened, toolsets=settings.mcp_toolsets, caller_of=caller_of)
    return open_endpoint(server, settings.timeout.total_seconds())


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
    operator = settings.operator("rest")
    caller_of: CallerOf = proven_caller if settings.authenticates else lambda _: operator
    resource = Resource(public_url=settings.public_url, issuer=settings.oauth_issuer)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_origin_regex=LOOPBACK_ORIGIN,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
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
    return Starlette(
        routes=[
            Route("/mcp", endpoint),
            *rest_routes(app, caller_of, settings.timeout.total_seconds()),
            *probe_routes(app, operator, asks=settings.authenticates),
            *(resource.routes() if settings.authenticates else []),
        ],
        middleware=[
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
        ],
        exception_handlers={TmwsError: refused, HTTPException: not_served},
    )


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
        timeout_graceful_shutdown=math.ceil(settings.timeout.total_seconds()),
    )
