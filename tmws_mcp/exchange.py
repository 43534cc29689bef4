"""One request of MCP and its answer, without a connection around them: whichever server gets it can give it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import anyio
import attrs
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_one
from mcp.server.streamable_http import check_accept_headers
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import RequestId
from mcp_types.jsonrpc import JSONRPCRequest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
STREAM = "text/event-stream"

_TRANSPORT = TransportContext(kind="streamable-http", can_send_request=False)


@attrs.frozen(kw_only=True)
class _Exchange:
    """What the SDK knows of a request beside what it says: nothing can be asked or told before the answer."""

    request_id: RequestId
    message_metadata: ServerMessageMetadata
    transport: TransportContext = _TRANSPORT
    can_send_request: bool = False
    cancel_requested: anyio.Event = attrs.field(factory=anyio.Event)

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,  # noqa: ARG002 - the SDK's protocol
        opts: CallOptions | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        pass

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        pass


async def answer(server: Server[Any], request: Request, message: JSONRPCRequest, version: str) -> dict[str, Any]:
    """Return the answer to a request of a client that speaks a version with sessions, whether it has one or not."""
    metadata = ServerMessageMetadata(request_context=request, can_send_request=False)
    exchange = _Exchange(request_id=message.id, message_metadata=metadata)
    connection = Connection.from_envelope(version, None, None)
    told = {"jsonrpc": "2.0", "id": message.id}
    try:
        result = await serve_one(
            server, exchange, message.method, message.params, connection=connection, lifespan_state=None
        )
    except (MCPError, ValidationError) as failure:
        error = handler_exception_to_error_data(failure)
        return {**told, "error": error.model_dump(by_alias=True, exclude_unset=True) if error else {}}
    return {**told, "result": result}


def problem_of(request: Request) -> tuple[int, str] | None:
    """Return the status and the reason where a client sends no JSON, or takes no answer; None where it does."""
    if not any(check_accept_headers(request)):
        return 406, f"Not Acceptable: Client must accept {JSON} or {STREAM}"
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        return 415, f"Unsupported Media Type: Content-Type must be {JSON}"
    return None


def as_taken(request: Request, response: Response) -> Response:
    """Return a response, or the stream of its one event for a client that takes nothing else."""
    if check_accept_headers(request)[0] or response.status_code != HTTPStatus.OK or not response.body:
        return response
    headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return Response(b"event: message\ndata: %b\n\n" % bytes(response.body), headers=headers, media_type=STREAM)
