"""JSON-RPC messages, one on a line."""

import attrs
import mcp_types as types
import orjson
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest
from pydantic import ValidationError


@attrs.frozen(slots=False)
class BadFrame(Exception):
    """A line that is no JSON-RPC message; `request_id` is None where the line has none that can be read."""

    code: int
    message: str
    request_id: str | int | None = None


def parse(line: bytes) -> JSONRPCRequest | JSONRPCNotification | None:
    """Return the message on a line, or None for an answer, which a server that asks nothing has no use for.

    Raises:
        BadFrame: not JSON in UTF-8, or not one JSON-RPC object.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadFrame(types.PARSE_ERROR, f"Parse error: {error.msg}") from None
    if not isinstance(value, dict):
        raise BadFrame(types.INVALID_REQUEST, "A message is one JSON object; batches are not supported")
    if "method" not in value and value.keys() & {"result", "error"}:
        return None
    request_id = value.get("id")
    if "id" in value and (not isinstance(request_id, str | int) or isinstance(request_id, bool)):
        raise BadFrame(types.INVALID_REQUEST, "An id is a string or an integer of at most 64 bits")
    try:
        return (JSONRPCRequest if "id" in value else JSONRPCNotification).model_validate(value, by_name=False)
    except ValidationError:
        reason = 'A message has "jsonrpc": "2.0", a method and, where there are parameters, an object "params"'
        raise BadFrame(types.INVALID_REQUEST, reason, request_id) from None
