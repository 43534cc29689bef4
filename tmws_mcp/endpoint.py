"""`/mcp`: the SDK's streamable HTTP, and what it leaves to whoever runs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import anyio
import attrs
import orjson
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, REQUEST_CANCELLED
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import DEFAULT_NEGOTIATED_VERSION, INVALID_REQUEST
from mcp_types.jsonrpc import UNSUPPORTED_PROTOCOL_VERSION, JSONRPCNotification, JSONRPCRequest
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tmws_core.app import App
from tmws_mcp.bodies import BODY_BYTES, read_body
from tmws_mcp.bulk import Bulk, bulk_of
from tmws_mcp.contained import Json
from tmws_mcp.exchange import JSON, answer, as_taken, problem_of
from tmws_mcp.frames import BadFrame, parse, written_frame
from tmws_mcp.limiting import caller_of
from tmws_mcp.room import most_in
from tmws_mcp.sessions import Sessions
from tmws_mcp.sharing import claim_of
from tmws_mcp.tools import Context

_SHOWN = 100
"""Characters of an unknown version that a refusal tells."""

_Key = tuple[str, str]
"""The session of a request, and its id."""


@attrs.define(kw_only=True)
class McpEndpoint:
    """An ASGI application; clients that keep a session, and those that ask without one, are both answered.

    Each request is an exchange of its own, and a session is a name that this server, or another one, gave: no operation
    asks what came before it in a session. `_exchanges` serves the era without sessions, and streams: nothing is said on
    those.
    """

    _server: Server[Any]
    _sessions: Sessions
    _exchanges: StreamableHTTPSessionManager
    _timeout: float
    _running: dict[_Key, anyio.CancelScope] = attrs.field(factory=dict)
    _streams: dict[anyio.CancelScope, str] = attrs.field(factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(_taking_anything(scope), receive)
        if scope["method"] == "POST":
            await self._post(request, send)
        elif scope["method"] in ("GET", "DELETE") and not _is_modern(request):
            await self._look_after(request, send)
        else:
            await self._exchanges.handle_request(request.scope, receive, send)

    def stop(self) -> None:
        """End the streams on which clients listen: they would never end by themselves."""
        for stream in self._streams:
            stream.cancel()

    async def _look_after(self, request: Request, send: Send) -> None:
        """Listen in a session, or end it."""
        session = request.headers.get(MCP_SESSION_ID_HEADER)
        if unsupported := _unsupported(request):
            response: Response = unsupported
        elif session is None:
            response = _refusal(HTTPStatus.BAD_REQUEST, "Bad Request: Missing session ID")
        elif await self._enter(request, session) is None:
            response = _refusal(HTTPStatus.NOT_FOUND, "Session not found")
        elif request.method == "GET":
            await self._stream(request, session, send)
            return
        else:
            await self._end(session)
            response = Response(media_type=JSON)
        await response(request.scope, request.receive, send)

    async def _post(self, request: Request, send: Send) -> None:
        body = await read_body(request, self._timeout)
        try:
            message = await parse(body)
            bulk = request.state.bulk = Bulk.taken_from(message)
            if message is not None and _is_modern(request):
                body = written_frame(message)
                # Of all answers only those to calls are one piece for certain, and may be large.
                filling = bulk.filling(send) if message.method == "tools/call" else send
                await self._exchanges.handle_request(request.scope, _replay(body, request.receive), filling)
                return
            request_id = message.id if isinstance(message, JSONRPCRequest) else None
            response = _unsupported(request, request_id) or await self._response(request, message)
        except BadFrame as bad:
            response = _refusal(HTTPStatus.BAD_REQUEST, bad.message, bad.code, bad.request_id)
        await as_taken(request, response)(request.scope, request.receive, send)

    async def _response(self, request: Request, message: JSONRPCRequest | JSONRPCNotification | None) -> Response:
        if problem := problem_of(request):
            return _refusal(*problem)
        session = request.headers.get(MCP_SESSION_ID_HEADER)
        if isinstance(message, JSONRPCRequest) and message.method == "initialize":
            return await self._begin(request, message)
        version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER, DEFAULT_NEGOTIATED_VERSION)
        if session is not None:
            spoken = await self._enter(request, session)
            if spoken is None:
                return _refusal(HTTPStatus.NOT_FOUND, "Session not found")
            version = spoken
        if not isinstance(message, JSONRPCRequest):
            self._heed(session, message)
            return Response(status_code=HTTPStatus.ACCEPTED, media_type=JSON)
        if session is None:
            return await self._answered(request, message, version)
        return await self._answer(request, (session, str(message.id)), message, version)

    async def _begin(self, request: Request, message: JSONRPCRequest) -> Response:
        """Answer an introduction, and name the session that begins with it."""
        answered = await answer(self._server, request, message, LATEST_HANDSHAKE_VERSION)
        response = Json(answered)
        if "result" in answered:
            version = answered["result"]["protocolVersion"]
            response.headers[MCP_SESSION_ID_HEADER] = self._sessions.begin(_agent_of(request), version)
        return response

    async def _enter(self, request: Request, session: str) -> str | None:
        return await self._sessions.version(session, _agent_of(request))

    async def _answer(self, request: Request, key: _Key, message: JSONRPCRequest, version: str) -> Response:
        """Answer a request of a session, unless its client takes it back."""
        if key in self._running:
            raise BadFrame(INVALID_REQUEST, f"The id {message.id!r} belongs to a request that is still running")
        with anyio.CancelScope() as work:
            self._running[key] = work
            try:
                return await self._answered(request, message, version)
            finally:
                del self._running[key]
        return _refusal(HTTPStatus.OK, "Request cancelled", REQUEST_CANCELLED, message.id)

    async def _answered(self, request: Request, message: JSONRPCRequest, version: str) -> Response:
        told = orjson.dumps(await answer(self._server, request, message, version))
        return Response(bulk_of(request).filled(told), media_type=JSON)

    def _heed(self, session: str | None, message: JSONRPCNotification | None) -> None:
        """Stop what a client does not want any more, if it runs here."""
        if session and message is not None and message.method == "notifications/cancelled":
            work = self._running.get((session, str((message.params or {}).get("requestId"))))
            if work is not None:
                work.cancel()

    async def _stream(self, request: Request, session: str, send: Send) -> None:
        with anyio.CancelScope() as stream:
            self._streams[stream] = session
            try:
                await self._exchanges.handle_request(_from_now_on(request.scope), request.receive, send)
            finally:
                del self._streams[stream]
        if stream.cancelled_caught:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _end(self, session: str) -> None:
        await self._sessions.end(session)
        for stream, listening in self._streams.items():
            if listening == session:
                stream.cancel()


@asynccontextmanager
async def open_endpoint(
    app: App,
    server: Server[Any],
    sessions: Sessions,
    timeout: float,  # noqa: ASYNC109 - of each request
) -> AsyncIterator[McpEndpoint]:
    """Open the endpoint of an application's server; `timeout` is in seconds, and bounds how long a body may take."""
    server.middleware.append(_making_room(app))
    exchanges = StreamableHTTPSessionManager(
        server, json_response=True, stateless=True, max_request_body_size=BODY_BYTES
    )
    async with exchanges.run():
        yield McpEndpoint(server=server, sessions=sessions, exchanges=exchanges, timeout=timeout)


def _making_room(app: App) -> ServerMiddleware[Any]:
    """Return what lets a request of HTTP run when its answer has room; middleware of the server."""

    async def make_room(ctx: Context, call_next: CallNext) -> HandlerResult:
        params = bulk_of(ctx.request).whole(ctx.params)
        await claim_of(ctx.request).answer(most_in(ctx.method, params, app.operations))
        return await call_next(ctx)

    return make_room


def _refusal(
    status: int, message: str, code: int = INVALID_REQUEST, request_id: str | int | None = None, **more: object
) -> Json:
    error = {"code": code, "message": message, **more}
    return Json({"jsonrpc": "2.0", "id": request_id, "error": error}, status)


def _unsupported(request: Request, request_id: str | int | None = None) -> Json | None:
    """Return the refusal of a request in a version of the protocol that is not spoken, or None where it is."""
    version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER)
    if version is None or version in KNOWN_PROTOCOL_VERSIONS:
        return None
    message = f"Unsupported protocol version: MCP-Protocol-Version is one of {', '.join(KNOWN_PROTOCOL_VERSIONS)}"
    data = {"supported": KNOWN_PROTOCOL_VERSIONS, "requested": version[:_SHOWN]}
    return _refusal(HTTPStatus.BAD_REQUEST, message, UNSUPPORTED_PROTOCOL_VERSION, request_id, data=data)


def _is_modern(request: Request) -> bool:
    """Tell whether a request belongs to the era of the protocol that knows no sessions."""
    return request.headers.get(MCP_PROTOCOL_VERSION_HEADER) in MODERN_PROTOCOL_VERSIONS


def _agent_of(request: Request) -> str:
    caller = caller_of(request.scope)
    return "" if caller is None else caller.agent_id


def _taking_anything(scope: Scope) -> Scope:
    """Return a request which accepts anything if it does not say what it accepts, as RFC 9110 has it (12.5.1)."""
    said = [name for name, value in scope["headers"] if name == b"accept" and value.strip()]
    rest = [header for header in scope["headers"] if header[0] != b"accept"]
    return scope if said else {**scope, "headers": [*rest, (b"accept", b"*/*")]}


def _from_now_on(scope: Scope) -> Scope:
    """Return a request to listen without the event it wants to listen after: nothing is said that could be repeated."""
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"last-event-id"]}


def _replay(body: bytes, receive: Receive) -> Receive:
    read = False

    async def replay() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
