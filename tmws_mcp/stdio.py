"""MCP over standard input and output."""

import anyio
import attrs

from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_mcp.server import mcp_server
from tmws_mcp.session import Session
from tmws_mcp.standard import claimed
from tmws_mcp.tasks import ungrouped


async def serve_stdio(settings: Settings) -> None:
    """Serve one client on standard input and output until the input ends, or SIGTERM or SIGINT comes.

    Then what is running is finished, for as long as a request may take, and answered. The store is opened when the
    first request needs it, or right behind the first answer: a client that introduces itself does not wait for it.

    Raises:
        TmwsError: the store cannot be opened; see `open_app`.
    """
    pending = _PendingApp()
    caller = settings.agent("stdio")
    server = mcp_server(pending.get, toolsets=settings.mcp_toolsets, caller_of=lambda _: caller)
    with claimed() as wire, ungrouped():
        session = Session(wire=wire, server=server, timeout=settings.timeout.total_seconds(), ready=pending.want)

        async def serve() -> None:
            await session.run()
            pending.end()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await pending.wanted.wait()
            if not pending.ended.is_set():
                async with open_app(settings) as app:
                    pending.put(app)
                    await pending.ended.wait()


@attrs.define
class _PendingApp:
    """The application from before it is open until nobody needs it any more."""

    wanted: anyio.Event = attrs.field(factory=anyio.Event)
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    _open: anyio.Event = attrs.field(factory=anyio.Event)
    _app: list[App] = attrs.field(factory=list)

    def want(self) -> None:
        self.wanted.set()

    def put(self, app: App) -> None:
        self._app.append(app)
        self._open.set()

    def end(self) -> None:
        self.ended.set()
        self.wanted.set()

    async def get(self) -> App:
        self.want()
        await self._open.wait()
        return self._app[0]
