"""Serving MCP and REST over HTTP: where, and with how many processes."""

import logging
from collections.abc import Callable
from contextlib import ExitStack

import anyio

from tmws_adapters.settings import Settings
from tmws_mcp.interpreter import undisturbed
from tmws_mcp.listening import check_exposure, listen, url_of
from tmws_mcp.stopping import heed_signals
from tmws_mcp.workers import supervise

logger = logging.getLogger("tmws")


async def serve_http(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then what is running is finished, for as long as a request may take.

    With SQLite the agent terminals of this machine are served, too: the server takes over from the owner that they have
    started. `ready` gets the base URL once requests are answered.

    Raises:
        ConfigurationError: the server may not or cannot listen where it should.
        Refused: another server owns the database, or a process of several could not begin.
        TmwsError: the store cannot be opened; see `open_app`.
    """
    check_exposure(settings)
    with ExitStack() as open_sockets:
        listeners = await anyio.to_thread.run_sync(listen, settings.listen_hosts, settings.port)
        for each in listeners:
            open_sockets.enter_context(each)
        url = url_of(settings.listen_host, listeners[0])

        def announce() -> None:
            logger.info("✅ MCP server started on %s", url)
            if ready is not None:
                ready(url)

        if settings.workers > 1:
            await supervise(settings, listeners, url, announce)
            return
        if (settings.max_workers or 1) > 1:
            logger.info("One process serves: TMWS_MAX_WORKERS is for PostgreSQL, and not for a Chroma in a directory")
        with undisturbed():
            from tmws_mcp.application import serve_on  # noqa: PLC0415 - whoever looks after workers does without

        await serve_on(settings, listeners, url, heed=heed_signals, ready=announce)
