"""One client of a JSON-RPC wire, from its first line to the last answer."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import anyio
import attrs
import mcp_types as types
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_connection, serve_dual_era_loop
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.shared.transport_context import TransportContext
from mcp_types.jsonrpc import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from tmws_adapters.local.limits import LINE_BYTES, TOO_LONG
from tmws_core.operation import Operation
from tmws_mcp.bulk import Bulk, bulk_of
from tmws_mcp.frames import BadFrame, parse, written_frame
from tmws_mcp.room import Room, Taken, most_in
from tmws_mcp.tools import Context
from tmws_mcp.wire import Wire

_END = b"\n"
"""What stands for the end of the input: no line holds it."""

_Outgoing = SessionMessage | JSONRPCError
"""What is written: answers of the server, and refusals of lines that never reached it."""

_Message = JSONRPCRequest | JSONRPCNotification | BadFrame | None
"""What is on a line; None where there is nothing that a server that asks nothing has a use for."""


@attrs.define(kw_only=True)
class Session:
    """Reads requests, has the server answer them, and writes the answers; `taken` counts the lines that were read.

    Answers have room, see `Room`: what the client has not read keeps further requests from running, and not from being
    cancelled. What the SDK does not do is done here: lines that are no message are answered, an id that is in use is
    refused (the SDK would forget the first request), a client may ask without introducing itself, and what runs when
    the input ends is still answered.
    """

    wire: Wire
    server: Server[Any]
    operations: Mapping[str, Operation]
    timeout: float
    taken: int = 0
    _stopped: bool = False
    _waiting: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _running: Taken = attrs.field(factory=Taken)
    _room: Room = attrs.field(factory=Room)
    _bulk: dict[types.RequestId, Bulk] = attrs.field(factory=dict)
    _requests: MemoryObjectSendStream[SessionMessage | Exception] | None = None

    async def run(self) -> None:
        """Serve until the input ends or `stop` is called; what then still runs has `timeout` seconds."""
        self.server.middleware.append(self._make_room)
        async with anyio.create_task_group() as work:
            answers, written = anyio.create_memory_object_stream[_Outgoing](0)
            work.start_soon(self._write, written, work.cancel_scope)
            async with answers:
                try:
                    await self._read(work, answers)
                    work.cancel_scope.deadline = anyio.current_time() + self.timeout
                    await self._running.none()
                finally:
                    if self._requests is not None:
                        self._requests.close()

    def stop(self) -> None:
        """Read no further."""
        self._stopped = True
        self._waiting.cancel()

    async def _read(self, work: TaskGroup, answers: MemoryObjectSendStream[_Outgoing]) -> None:
        async with aclosing(self.wire.lines(LINE_BYTES)) as lines:
            while not self._stopped:
                # Only the waiting is cancelled: a line is taken and gets its answer, or it is not.
                with self._waiting:
                    line = await anext(lines, _END)
                    message = None if line is _END else await _read_message(line)
                    if isinstance(message, JSONRPCRequest):
                        await self._running.below_limits()
                if self._waiting.cancelled_caught or line is _END:
                    break
                self._waiting = anyio.CancelScope()
                self.taken += 1
                try:
                    await self._take(message, len(line or b""), work, answers)
                except BadFrame as bad:
                    refusal = types.ErrorData(code=bad.code, message=bad.message)
                    await answers.send(JSONRPCError(jsonrpc="2.0", id=self._free(bad.request_id), error=refusal))
                await checkpoint()  # many lines at once have nothing else to wait for

    def _free(self, request_id: types.RequestId | None) -> types.RequestId | None:
        """Return the id of a refused line, unless a request that still runs has it, whose answer is waited for."""
        return None if request_id is not None and coerce_request_id(request_id) in self._running else request_id

    async def _take(
        self, message: _Message, size: int, work: TaskGroup, answers: MemoryObjectSendStream[_Outgoing]
    ) -> None:
        match message:
            case BadFrame():
                raise message
            case JSONRPCRequest() as request:
                if coerce_request_id(request.id) in self._running:
                    raise BadFrame(
                        types.INVALID_REQUEST, f"The id {request.id!r} belongs to a request that is still running"
                    )
                self._running.add(coerce_request_id(request.id), size)
                await self._pass_on(request, work, answers)
            case JSONRPCNotification() as notification if self._requests is not None:
                await self._requests.send(SessionMessage(notification))

    async def _pass_on(
        self, request: JSONRPCRequest, work: TaskGroup, answers: MemoryObjectSendStream[_Outgoing]
    ) -> None:
        if self._requests is None:
            self._requests, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
            work.start_soon(self._answer, request, incoming, answers.clone())

        async def unanswered() -> None:
            self._settle(request.id)

        bulk = self._bulk[coerce_request_id(request.id)] = Bulk.taken_from(request)
        metadata = ServerMessageMetadata(request_context=bulk, on_request_unanswered=unanswered)
        await self._requests.send(SessionMessage(request, metadata))

    async def _answer(
        self,
        opening: JSONRPCRequest,
        incoming: MemoryObjectReceiveStream[SessionMessage | Exception],
        answers: MemoryObjectSendStream[_Outgoing],
    ) -> None:
        """Let the SDK serve the era that the first request belongs to, or without any introduction."""
        meta = (opening.params or {}).get("_meta")
        if opening.method == "initialize" or (isinstance(meta, dict) and types.PROTOCOL_VERSION_META_KEY in meta):
            await serve_dual_era_loop(self.server, incoming, answers, lifespan_state=None)
            return
        dispatcher = JSONRPCDispatcher[TransportContext](incoming, answers, inline_methods=frozenset({"initialize"}))
        connection = Connection.from_envelope(LATEST_HANDSHAKE_VERSION, None, None, outbound=dispatcher)
        await serve_connection(self.server, dispatcher, connection=connection, lifespan_state=None)

    async def _write(self, written: MemoryObjectReceiveStream[_Outgoing], work: anyio.CancelScope) -> None:
        try:
            async with written:
                async for outgoing in written:
                    message = outgoing.message if isinstance(outgoing, SessionMessage) else outgoing
                    frame = written_frame(message)
                    if isinstance(outgoing, SessionMessage) and isinstance(message, JSONRPCResponse | JSONRPCError):
                        await self.wire.write(self._filled(frame, message.id) + b"\n")
                        self._settle(message.id)
                    else:
                        await self.wire.write(frame + b"\n")
        except ConnectionError:
            work.cancel()  # nobody reads answers any more

    def _filled(self, frame: bytes, request_id: types.RequestId | None) -> bytes:
        bulk = None if request_id is None else self._bulk.get(coerce_request_id(request_id))
        return frame if bulk is None else bulk.filled(frame)

    async def _make_room(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Let a request run when its answer has room; middleware of the server."""
        memories = most_in(ctx.method, bulk_of(ctx.request).whole(ctx.params), self.operations)
        if memories and ctx.request_id is not None:
            await self._room.enter(coerce_request_id(ctx.request_id), memories)
        return await call_next(ctx)

    def _settle(self, request_id: types.RequestId | None) -> None:
        if request_id is not None:
            self._room.leave(coerce_request_id(request_id))
            self._running.settle(coerce_request_id(request_id))
            self._bulk.pop(coerce_request_id(request_id), None)


async def _read_message(line: bytes | None) -> _Message:
    """Return the message on a line, or what is wrong with it."""
    if line is None:
        return BadFrame(types.INVALID_REQUEST, TOO_LONG)
    try:
        return await parse(line) if line.strip() else None
    except BadFrame as bad:
        return bad
