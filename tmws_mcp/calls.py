"""Operations over a wire of lines, for programs on this machine: `{"id", "operation", "arguments"}` and its answer."""

from contextlib import aclosing
from typing import Any

import anyio
import attrs
import orjson
from anyio.abc import TaskGroup

from tmws_adapters.local.limits import LINE_BYTES
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import MalformedRequest, RequestTooLarge, TmwsError
from tmws_mcp.answers import written
from tmws_mcp.bodies import parse_object
from tmws_mcp.failure import error_body, new_request_id, unexpected
from tmws_mcp.room import Room, Taken, most_of
from tmws_mcp.wire import Wire


@attrs.define(kw_only=True)
class Calls:
    """Runs the calls of one client at once, and answers each when it is done, in any order.

    Answers have room, see `Room`: what the client has not read keeps further calls from running. An answer is
    `{"id", "result"}` or `{"id", "error"}`, with the error object of REST and its kind; `id` is any JSON value.
    """

    wire: Wire
    app: App
    caller: Caller
    timeout: float
    _reading: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _taken: Taken = attrs.field(factory=Taken)
    _room: Room = attrs.field(factory=Room)
    _turn: anyio.Lock = attrs.field(factory=anyio.Lock)

    async def run(self) -> None:
        """Serve until the input ends or `stop` is called; what then still runs has `timeout` seconds."""
        async with anyio.create_task_group() as work:
            with self._reading:
                await self._read(work)
            work.cancel_scope.deadline = anyio.current_time() + self.timeout

    def stop(self) -> None:
        """Read no further."""
        self._reading.cancel()

    async def _read(self, work: TaskGroup) -> None:
        async with aclosing(self.wire.lines(LINE_BYTES)) as lines:
            async for line in lines:
                call = object()
                await self._taken.below_limits()
                self._taken.add(call, len(line or b""))
                work.start_soon(self._serve, line, call, work.cancel_scope)

    async def _serve(self, line: bytes | None, key: object, work: anyio.CancelScope) -> None:
        try:
            answer = await self._answer(line, key)
            async with self._turn:
                await self.wire.write(await written(answer) + b"\n")
        except ConnectionError:
            work.cancel()  # nobody reads answers any more
        finally:
            self._room.leave(key)
            self._taken.settle(key)

    async def _answer(self, line: bytes | None, key: object) -> dict[str, Any]:
        call: dict[str, Any] = {}
        try:
            call = await _parse(line)
            return {"id": call.get("id"), "result": await self._result(call, key)}
        except TmwsError as error:
            return {"id": call.get("id"), "error": _told(error, error_body(error, with_facts=True))}
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of the inside goes out
            request_id = new_request_id()
            refusal = unexpected(error, f"call {str(call.get('operation'))[:100]!r}", request_id)
            return {"id": call.get("id"), "error": _told(refusal, error_body(refusal, request_id))}

    async def _result(self, call: dict[str, Any], key: object) -> dict[str, Any]:
        operation = call.get("operation")
        if not isinstance(operation, str):
            raise MalformedRequest(reason='A call has an "operation"')
        arguments = call.get("arguments")
        if memories := most_of(self.app.operations.get(operation), arguments):
            await self._room.enter(key, memories)
        return await self.app.call_wire(self.caller, operation, arguments)


def _told(error: TmwsError, body: dict[str, Any]) -> dict[str, Any]:
    """Return an error object with its kind, so that a program needs no table of codes."""
    return {**body["error"], "kind": error.kind.value}


async def _parse(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise RequestTooLarge(limit=LINE_BYTES)
    call = await parse_object(line)
    try:
        orjson.dumps(call.get("id"))
    except orjson.JSONEncodeError:
        raise MalformedRequest(reason="The id of a call comes back, and has integers of 64 bits at most") from None
    return call
