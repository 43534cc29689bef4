"""The outermost layer of the HTTP server: every request has an id, every error is JSON, nothing escapes."""

import math
from http import HTTPStatus
from typing import Any

import anyio
import attrs
import orjson
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmws_core.errors import RequestTimedOut, StorageOutcomeUnknown, TmwsError
from tmws_mcp.failure import STATUS, described, error_body, new_request_id, unexpected

_HEADER = "x-request-id"

_CODES = {HTTPStatus.NOT_FOUND: "unknown_route", HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed"}
"""Codes of refusals that no operation makes; the other ones are `malformed_request`."""

_SERVED = "MCP is at /mcp, REST at POST /mcp/tools/<operation>, and GET /openapi.json describes it"
"""What a request is told whose route there is not."""

_ENDED = "The server ended before the request did; a write may or may not have been stored. Look, or try it again"
"""What a request is told that was still running when the server had waited long enough for it."""


class Json(Response):
    """A response of JSON values."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        return orjson.dumps(content)


def refused(request: Request, error: Exception) -> Response:
    """Answer a TmwsError; a handler of Starlette's."""
    if not isinstance(error, TmwsError):
        raise error
    return _refusal(error, request.state.request_id)


def not_served(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: unknown routes and methods; a handler of Starlette's."""
    if not isinstance(error, HTTPException):
        raise error
    path = request.url.path
    allowed = (error.headers or {}).get("Allow")
    if path != "/" and path.endswith("/"):
        instead = "no path ends with a slash"
    elif allowed:
        instead = f"it takes {' or '.join(sorted(allowed.split(', ')))}"
    else:
        instead = _SERVED
    message = f"There is no {request.method} {path[:200]}: {instead}"
    body = described(_code(error.status_code), message, request_id=request.state.request_id)
    return Json(body, error.status_code, error.headers)


def _refusal(error: TmwsError, request_id: str) -> Response:
    return Json(error_body(error, request_id, with_facts=True), STATUS[error.kind], _headers(error))


def _headers(error: TmwsError) -> dict[str, str]:
    headers = {}
    if isinstance(error, RequestTimedOut):
        # The rest of a body that is too slow may still come, or never: it is not waited for.
        headers["connection"] = "close"
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    return headers


def _code(status: int) -> str:
    return _CODES.get(HTTPStatus(status), "malformed_request")


@attrs.frozen
class Contained:
    """Names each request in its `state` and its answer, and answers what the layers inside raise; a middleware."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send=send, request_id=request_id)
        try:
            await self.app(scope, receive, answer)
        except TmwsError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of the inside goes out
            refusal = unexpected(error, f"{scope['method']} {scope['path'][:200]!r}", request_id)
        except anyio.get_cancelled_exc_class():
            if not answer.started:
                body = described(StorageOutcomeUnknown.code, _ENDED, request_id=request_id)
                await Json(body, HTTPStatus.SERVICE_UNAVAILABLE)(scope, receive, answer)
            raise
        else:
            return
        if not answer.started:
            await _refusal(refusal, request_id)(scope, receive, answer)


@attrs.frozen
class Refused:
    """Answers what the layers inside raise as TmwsError, so that those around it see an answer; a middleware."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await self.app(scope, receive, send)
        except TmwsError as error:
            await _refusal(error, scope["state"]["request_id"])(scope, receive, send)


@attrs.define(kw_only=True)
class _Answer:
    """Sends an answer with the id of its request; an error that is not JSON becomes JSON."""

    send: Send
    request_id: str
    started: bool = False
    _foreign: Message | None = None
    _text: bytearray = attrs.field(factory=bytearray)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self._foreign is None:
            await self.send(message)
        else:
            self._text += message.get("body", b"")
            if not message.get("more_body", False):
                await self._translate(self._foreign)

    async def _start(self, message: Message) -> None:
        self.started = True
        headers = MutableHeaders(raw=message.setdefault("headers", []))
        headers[_HEADER] = self.request_id
        is_json = headers.get("content-type", "").startswith("application/json")
        if message["status"] >= HTTPStatus.BAD_REQUEST and not is_json:
            self._foreign = message
        else:
            await self.send(message)

    async def _translate(self, message: Message) -> None:
        status = HTTPStatus(message["status"])
        text = self._text.decode("utf-8", "replace") or status.phrase
        body = orjson.dumps(described(_code(status), text, request_id=self.request_id))
        headers = MutableHeaders(raw=list(message["headers"]))
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(body))
        await self.send({**message, "headers": headers.raw})
        await self.send({"type": "http.response.body", "body": body})
