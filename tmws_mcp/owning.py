"""What an owner does once it holds the database: it opens the store, and serves clients until it is not needed."""

import logging
import signal
from logging.handlers import RotatingFileHandler

import anyio

from tmws_adapters.bootstrap import open_app
from tmws_adapters.local.holding import Holding
from tmws_adapters.local.starting import LOG_BYTES
from tmws_adapters.settings import Settings
from tmws_core.errors import TmwsError
from tmws_mcp.clients import LocalClients
from tmws_mcp.interpreter import serve_promptly
from tmws_mcp.tasks import ungrouped

logger = logging.getLogger("tmws")


async def serve_clients(settings: Settings, holding: Holding) -> None:
    """Serve until nobody has been there for TMWS_OWNER_IDLE_SECONDS, or SIGTERM or SIGINT comes, or a client says so.

    What is running then is finished, for as long as a request may take. A store that cannot be opened is told to the
    clients.
    """
    clients = LocalClients(holding=holding, settings=settings, idle=settings.owner_idle_seconds)
    with ungrouped():
        async with anyio.create_task_group() as watching:
            watching.start_soon(_stop_on_signal, clients)
            watching.start_soon(_stop_when_lost, clients)
            async with anyio.create_task_group() as work:
                work.start_soon(_open, settings, clients)
                await clients.run()
            watching.cancel_scope.cancel()


def log_to(path: str) -> None:
    """Send the log to a file of bounded size, in the form that was configured."""
    root = logging.getLogger()
    file = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    for handler in root.handlers:
        file.setFormatter(handler.formatter)
    root.handlers = [file]


async def _open(settings: Settings, clients: LocalClients) -> None:
    try:
        async with open_app(settings, serving=True) as app:
            serve_promptly()
            clients.open(app)
            await clients.ended.wait()
    except TmwsError as error:
        logger.error("❌ The store cannot be opened: %s", error.message)  # noqa: TRY400 - the message is the reason
        clients.fail(error)


async def _stop_on_signal(clients: LocalClients) -> None:
    """Stop reading at the first signal, and working at the second."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            clients.stop()
            async for _ in signals:
                clients.abort()


async def _stop_when_lost(clients: LocalClients) -> None:
    await clients.lost()
    clients.stop()
