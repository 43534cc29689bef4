"""The clients on this machine: agent terminals and programs that connect to the owner of the database."""

import logging
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup

from tmws_adapters.local.greeting import (
    GREETING_BYTES,
    WIRE,
    Stranger,
    is_proven,
    line_of,
    new_nonce,
    nonce_in,
    parse,
    proof_of,
)
from tmws_adapters.local.holding import Holding
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.aside import on_behalf_of
from tmws_core.domain.agent import Caller
from tmws_core.errors import Forbidden, InvalidField, TmwsError
from tmws_core.operation import Effect
from tmws_mcp.calls import Calls
from tmws_mcp.failure import error_body
from tmws_mcp.server import mcp_server
from tmws_mcp.session import Session
from tmws_mcp.tasks import ungrouped
from tmws_mcp.terminals import Wants, check_alike, differing, program_of, terminal_of
from tmws_mcp.wire import Wire

logger = logging.getLogger("tmws")

CONNECTIONS = 256
"""Clients at once; one more is hung up on. Each takes a descriptor and 42 kB, by measurement."""

GREETING_SECONDS = 5.0
"""How long a client may take to greet."""

FIRST_SECONDS = 5.0
"""How long an owner waits for its first client at least: the one that has started it connects at once."""

RETRY_SECONDS = 0.05
"""How long to let others go when no client can be accepted."""

LOOK_SECONDS = 1.0
"""How often an owner looks whether it still is one; a look takes three microseconds."""

LEAVE_SECONDS = 1.0
"""How long the other end has to hang up after the last line; a client on this machine takes a millisecond."""


@attrs.define(kw_only=True)
class LocalClients:
    """Accepts clients, greets them, and serves each as it wants; `idle` seconds without any end it.

    Clients are greeted at once, and served as soon as `open` brings the application, or refused with what `fail` says.
    """

    holding: Holding
    settings: Settings
    idle: float
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    _app: App | None = None
    _error: TmwsError | None = None
    _settled: anyio.Event = attrs.field(factory=anyio.Event)
    _door: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _work: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _stops: list[Callable[[], None]] = attrs.field(factory=list)
    _number: int = 0
    _changed: anyio.Event = attrs.field(factory=anyio.Event)

    async def run(self) -> None:
        """Serve until `stop` is called, or nobody has been there for long enough; then finish what runs."""
        try:
            with self._work:
                async with anyio.create_task_group() as serving:
                    with self._door:
                        async with anyio.create_task_group() as waiting:
                            waiting.start_soon(self._stop_when_idle)
                            await self._accept(serving)
                    self.holding.listener.close()
        finally:
            self.ended.set()

    def open(self, app: App) -> None:
        """Serve with this application from now on."""
        self.holding.keep_database()
        self._app = app
        self._settled.set()

    def fail(self, error: TmwsError) -> None:
        """Tell whoever has come what is wrong, and end."""
        self._error = error
        self._settled.set()
        self._door.cancel()

    def stop(self) -> None:
        """Accept no more clients, read nothing more, and finish what runs."""
        self._door.cancel()
        self._settled.set()
        for stop in self._stops:
            stop()

    async def lost(self) -> None:
        """Wait until another process may own the database; this one has to leave it then."""
        while not self.holding.is_lost():  # noqa: ASYNC110 - no system tells it everywhere
            await anyio.sleep(LOOK_SECONDS)
        where = "in `run` beside the database"
        logger.error("❌ The files of this process %s were deleted or replaced: it ends, another may begin", where)

    def abort(self) -> None:
        """Finish nothing."""
        self._work.cancel()

    async def _accept(self, serving: TaskGroup) -> None:
        listener = self.holding.listener
        listener.setblocking(False)  # noqa: FBT003 - the socket module's signature
        while True:
            await anyio.wait_readable(listener)
            try:
                connection, _ = listener.accept()
            except OSError:  # the client has gone again, or there is no descriptor left for it
                await anyio.sleep(RETRY_SECONDS)
                continue
            if self._number >= CONNECTIONS:
                connection.close()
            else:
                self._count(1)
                serving.start_soon(self._serve, connection)

    async def _stop_when_idle(self) -> None:
        patience = max(self.idle, FIRST_SECONDS)
        while True:
            with anyio.move_on_after(patience):
                while not self._number:
                    await self._changed.wait()
            if not self._number:
                self.stop()
            while self._number:
                await self._changed.wait()
            patience = self.idle

    def _count(self, change: int) -> None:
        self._number += change
        self._changed.set()
        self._changed = anyio.Event()

    async def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, ungrouped():
                connection.setblocking(False)  # noqa: FBT003 - as above
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wire = Wire(connection.fileno(), self.settings.timeout.total_seconds())
                await self._talk(wire)
                await _hang_up(connection, wire)
        except (OSError, Stranger) as error:
            logger.debug("A client on this machine is gone: %r", error)
        except Exception:  # the last line of defence: the others go on
            logger.exception("A client on this machine could not be served")
        finally:
            self._count(-1)

    async def _talk(self, wire: Wire) -> None:
        try:
            with anyio.fail_after(GREETING_SECONDS):
                wants = await self._greet(wire)
        except (ValueError, RecursionError) as error:
            # Anybody may connect: what they send is neither shown nor a reason for a traceback.
            logger.warning("⚠️ A client on this machine could not be greeted: %s", type(error).__name__)
            raise Stranger from None
        try:
            await self._do(wants, wire)
        except TmwsError as error:
            refusal = {**error_body(error, with_facts=True)["error"], "kind": error.kind.value}
            await wire.write(line_of({"ok": False, "error": refusal}))

    async def _do(self, wants: Wants, wire: Wire) -> None:
        speak = wants.get("speak")
        if speak == "stop":
            if self.holding.record.kind != "owner":
                raise Forbidden(action="stop a server", needs="a signal to its process")
            await wire.write(line_of({"ok": True}))
            self.stop()
            return
        if speak not in ("mcp", "calls"):
            raise InvalidField(name="speak", reason="is unknown", hint="Give mcp, calls or stop")
        terminal = terminal_of(wants, self.settings)
        check_alike(wants, terminal, self.settings, self.holding.record)
        await self._settled.wait()
        if self._error is not None:
            raise self._error
        if self._app is None or self._door.cancel_called:
            return  # it ends before this client could begin, and the next owner takes it
        await wire.write(line_of({**self._welcome(self._app), "differs": differing(wants, terminal, self.settings)}))
        if speak == "mcp":
            await self._speak_mcp(wire, self._app, terminal)
        else:
            await self._run_calls(wire, self._app, program_of(wants, terminal))

    async def _greet(self, wire: Wire) -> Wants:
        record = self.holding.record
        async with aclosing(wire.lines(GREETING_BYTES)) as lines:
            nonces = nonce_in(await _message(lines)), new_nonce()
            proof = proof_of(record.secret, "owner", *nonces)
            facts = {"version": record.version, "pid": record.pid, "kind": record.kind}
            await wire.write(line_of({"tmws": WIRE, "nonce": nonces[1], "proof": proof, **facts}))
            wants = await _message(lines)
        if not is_proven(record.secret, "client", nonces, wants.get("proof")):
            raise Stranger
        return wants

    async def _speak_mcp(self, wire: Wire, app: App, terminal: Settings) -> None:
        async def opened() -> App:
            return app

        caller = terminal.agent(transport="stdio")
        server = mcp_server(opened, toolsets=terminal.mcp_toolsets, caller_of=lambda _: caller)
        timeout = self.settings.timeout.total_seconds()
        session = Session(wire=wire, server=server, operations=app.operations, timeout=timeout)
        with self._stoppable(session.stop), on_behalf_of(caller.agent_id):
            await session.run()
        with anyio.move_on_after(LEAVE_SECONDS):
            await wire.write(line_of({"tmws": WIRE, "taken": session.taken}))

    async def _run_calls(self, wire: Wire, app: App, caller: Caller) -> None:
        calls = Calls(wire=wire, app=app, caller=caller, timeout=self.settings.timeout.total_seconds())
        with self._stoppable(calls.stop), on_behalf_of(caller.agent_id):
            await calls.run()

    def _welcome(self, app: App) -> dict[str, Any]:
        repeatable = [name for name, operation in app.operations.items() if operation.effect is Effect.READ]
        return {"ok": True, "repeatable": repeatable, "timeout": self.settings.timeout.total_seconds()}

    @contextmanager
    def _stoppable(self, stop: Callable[[], None]) -> Iterator[None]:
        self._stops.append(stop)
        try:
            yield
        finally:
            self._stops.remove(stop)


async def _message(lines: AsyncGenerator[bytes | None, None]) -> dict[str, object]:
    line: bytes | None = await anext(lines, None)
    return parse(line or b"")


async def _hang_up(connection: socket.socket, wire: Wire) -> None:
    """Hang up so that the last lines arrive: closing on what nobody has read would take them back."""
    connection.shutdown(socket.SHUT_WR)
    with anyio.move_on_after(LEAVE_SECONDS):
        async with aclosing(wire.lines(GREETING_BYTES)) as lines:
            async for _ in lines:
                pass
