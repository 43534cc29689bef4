"""`/mcp`: the SDK's streamable HTTP, and what it leaves to whoever runs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import INVALID_REQUEST
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from tmws_mcp.bodies import BODY_BYTES, read_body
from tmws_mcp.contained import Json
from tmws_mcp.frames import BadFrame, parse
from tmws_mcp.limiting import caller_of

_Key = tuple[str, str, str]
"""Whose request it is, in which session, and its id: nobody gets in the way of another's."""


@attrs.define(kw_only=True)
class McpEndpoint:
    """An ASGI application; clients that keep a session, and those that ask without one, are both answered."""

    _sessions: StreamableHTTPSessionManager
    _exchanges: StreamableHTTPSessionManager
    _timeout: float
    _running: set[_Key] = attrs.field(factory=set)
    _streams: set[anyio.CancelScope] = attrs.field(factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] == "POST":
            await self._post(Request(scope, receive), send)
        elif scope["method"] == "GET":
            await self._stream(scope, receive, send)
        else:
            await self._sessions.handle_request(scope, receive, send)

    def stop(self) -> None:
        """End the streams on which clients listen: they would never end by themselves."""
        for stream in self._streams:
            stream.cancel()

    async def _post(self, request: Request, send: Send) -> None:
        body = await read_body(request, self._timeout)
        try:
            message = parse(body)
            await self._handle(request, message, _replay(body, request.receive), send)
        except BadFrame as bad:
            refusal = {"jsonrpc": "2.0", "id": bad.request_id, "error": {"code": bad.code, "message": bad.message}}
            await Json(refusal, 400)(request.scope, request.receive, send)

    async def _handle(
        self, request: Request, message: JSONRPCRequest | JSONRPCNotification | None, receive: Receive, send: Send
    ) -> None:
        session = request.headers.get(MCP_SESSION_ID_HEADER)
        if session is None and not (isinstance(message, JSONRPCRequest) and message.method == "initialize"):
            await self._exchanges.handle_request(request.scope, receive, send)
            return
        if session is None or not isinstance(message, JSONRPCRequest):
            await self._sessions.handle_request(request.scope, receive, send)
            return
        caller = caller_of(request.scope)
        key = ("" if caller is None else caller.agent_id, session, str(message.id))
        if key in self._running:  # with a second request of this name, the SDK would never answer the first
            raise BadFrame(INVALID_REQUEST, f"The id {message.id!r} belongs to a request that is still running")
        self._running.add(key)
        try:
            await self._sessions.handle_request(request.scope, receive, send)
        finally:
            self._running.discard(key)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as stream:
            self._streams.add(stream)
            try:
                await self._sessions.handle_request(scope, receive, send)
            finally:
                self._streams.discard(stream)
        if stream.cancelled_caught:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def open_endpoint(server: Server[Any], timeout: float) -> AsyncIterator[McpEndpoint]:  # noqa: ASYNC109 - of each request
    """Open the endpoint of a server; `timeout` is in seconds, and bounds how long a body may take to arrive."""
    sessions = StreamableHTTPSessionManager(server, json_response=True, max_request_body_size=BODY_BYTES)
    exchanges = StreamableHTTPSessionManager(
        server, json_response=True, stateless=True, max_request_body_size=BODY_BYTES
    )
    async with sessions.run(), exchanges.run():
        yield McpEndpoint(sessions=sessions, exchanges=exchanges, timeout=timeout)


def _replay(body: bytes, receive: Receive) -> Receive:
    read = False

    async def replay() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
