"""Several processes that serve one port: started, looked after, and stopped together."""

import logging
import math
import multiprocessing
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import anyio
import attrs

from tmws_adapters.local.greeting import Refused
from tmws_adapters.logs import configure_logging
from tmws_adapters.settings import Settings
from tmws_core.errors import TmwsError
from tmws_mcp.failure import error_body
from tmws_mcp.interpreter import undisturbed
from tmws_mcp.stopping import Stop, heed_signals
from tmws_mcp.tasks import ungrouped

logger = logging.getLogger("tmws")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between two attempts to replace a worker that cannot begin; each attempt doubles them."""

LEAVE_SECONDS = 5.0
"""How much longer than a request a worker may take to stop: it closes what it has opened."""

_READY = "ready"

_spawning = multiprocessing.get_context("spawn")
"""A fork would take along the threads' locks of whoever calls."""


@attrs.frozen
class _Worker:
    number: int
    process: BaseProcess
    line: Connection
    """A worker says once by it that it is ready, or why it is not; it stops when it is told so, or the line ends."""

    async def started(self) -> dict[str, object] | None:
        """Return None as soon as it answers requests, or the error that it has ended with."""
        try:
            await anyio.wait_readable(self.line.fileno())
            said = self.line.recv()
        except (EOFError, OSError):
            message = f"A worker ended before it could serve, with {self._end()}. The log says more"
            return {"code": "internal", "kind": "unavailable", "message": message}
        return None if said == _READY else dict(said)

    async def ended(self) -> str:
        """Wait for its end, and return what it was."""
        await anyio.wait_readable(self.process.sentinel)
        return self._end()

    def tell(self, stop: Stop) -> None:
        """Tell it to stop, or to stop at once."""
        try:
            self.line.send(stop.again.is_set())
        except OSError:  # it has ended by itself
            return

    def _end(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


@attrs.define
class _Workers:
    settings: Settings
    listeners: tuple[socket.socket, ...]
    url: str
    stop: Stop = attrs.field(factory=Stop)
    running: dict[int, _Worker] = attrs.field(factory=dict)
    ready: set[int] = attrs.field(factory=set)

    def start(self, number: int, *, talks: bool = False) -> _Worker:
        ours, theirs = _spawning.Pipe()
        settings = _share_of(self.settings)
        if not talks:
            settings = attrs.evolve(settings, without_effect=())  # said once
        process = _spawning.Process(
            target=work, args=(settings, self.listeners, self.url, theirs, talks), name=f"tmws-{number}"
        )
        process.start()
        theirs.close()
        worker = self.running[number] = _Worker(number, process, ours)
        return worker

    async def keep(self, number: int, worker: _Worker | None = None) -> None:
        """Have a worker of this number, until all are to stop; `worker` is one that serves already."""
        pause = FIRST_PAUSE
        while not self.stop.asked.is_set():
            error = None
            if worker is None:
                worker = self.start(number)
                error = await worker.started()
            if error is None:
                self._count(number)
                pause = FIRST_PAUSE
            end = await worker.ended()
            worker.line.close()
            del self.running[number]
            if self.stop.asked.is_set():
                return
            if error is None:
                logger.warning(
                    "⚠️ Worker %d (process %d) ended with %s: another one begins", number, worker.process.pid, end
                )
            else:
                logger.error("❌ Worker %d could not begin: %s", number, error.get("message"))
                with anyio.move_on_after(pause):
                    await self.stop.asked.wait()
                pause = min(2 * pause, LONGEST_PAUSE)
            worker = None

    async def pass_on(self) -> None:
        """Tell the workers to stop, and to stop at once, as it is wished here; kill who does not."""
        await self.stop.asked.wait()
        for listener in self.listeners:
            listener.close()  # with the last process that has it open, so that nobody waits for one that never accepts
        self._tell()
        with anyio.move_on_after(self.settings.timeout.total_seconds() + LEAVE_SECONDS):
            await self.stop.again.wait()
        self.stop.again.set()
        self._tell()
        await anyio.sleep(LEAVE_SECONDS)
        self.kill()

    def kill(self) -> None:
        for worker in self.running.values():
            worker.process.kill()

    def _tell(self) -> None:
        for worker in self.running.values():
            worker.tell(self.stop)

    def _count(self, number: int) -> None:
        before = len(self.ready)
        self.ready.add(number)
        if before < len(self.ready) == self.settings.workers:
            logger.info("✅ %d processes serve", self.settings.workers)


async def supervise(
    settings: Settings, listeners: tuple[socket.socket, ...], url: str, ready: Callable[[], None]
) -> None:
    """Serve listening sockets with `settings.workers` processes, until a signal says stop; one that dies is replaced.

    The first one migrates the database before there are others, and says in the log what it does; `ready` is called
    when it serves.

    Raises:
        Refused: the first one cannot begin, with the reason.
    """
    workers = _Workers(settings, listeners, url)
    try:
        with ungrouped():
            async with anyio.create_task_group() as watching:
                watching.start_soon(heed_signals, workers.stop)
                watching.start_soon(workers.pass_on)
                first = workers.start(0, talks=True)
                error = await first.started()
                if error is not None and not workers.stop.asked.is_set():
                    raise Refused(error)
                if error is None:
                    ready()
                async with anyio.create_task_group() as keeping:
                    keeping.start_soon(workers.keep, 0, first)
                    for number in range(1, settings.workers):
                        keeping.start_soon(workers.keep, number)
                watching.cancel_scope.cancel()
    finally:
        workers.kill()


def work(
    settings: Settings,
    listeners: tuple[socket.socket, ...],
    url: str,
    line: Connection,
    talks: bool,  # noqa: FBT001 - see start
) -> None:
    """Serve in a process of its own, which logs how it begins only if it `talks`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all; who looks after them passes it on
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    configure_logging(settings)
    if not talks:
        logger.setLevel(logging.WARNING)

    def ready() -> None:
        logger.setLevel(logging.NOTSET)
        line.send(_READY)

    async def heed(stop: Stop) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_heed_sigterm, stop)
            await _heed_line(stop, line)

    with undisturbed():
        from tmws_mcp.application import serve_on  # noqa: PLC0415 - a second that who starts this process does not need

    async def serve() -> None:
        await serve_on(settings, listeners, url, heed=heed, ready=ready)

    try:
        anyio.run(serve)
    except TmwsError as error:
        line.send({**error_body(error)["error"], "kind": error.kind.value})


async def _heed_line(stop: Stop, line: Connection) -> None:
    while True:
        await anyio.wait_readable(line.fileno())
        try:
            at_once = line.recv()
        except (EOFError, OSError):  # whoever looks after this process is gone
            stop.asked.set()
            return
        stop.asked.set()
        if at_once:
            stop.again.set()


async def _heed_sigterm(stop: Stop) -> None:
    """Take it for the wish to stop, never for a second one: a service manager may send it to all processes at once."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            stop.asked.set()


def _share_of(settings: Settings) -> Settings:
    """Return the settings of one worker: together they keep as many connections open as one process would."""
    return attrs.evolve(
        settings,
        db_pool_size=math.ceil(settings.db_pool_size / settings.workers),
        db_max_overflow=settings.db_max_overflow // settings.workers,
    )
