"""JSON-RPC messages, one on a line."""

from functools import partial

import attrs
import mcp_types as types
import orjson
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest
from pydantic import BaseModel, ValidationError

from tmws_core.aside import aside
from tmws_core.domain.constraints import JSON_DEPTH
from tmws_core.doubles import faithful
from tmws_core.errors import InvalidField, TooManyValues
from tmws_core.wire import outweighs
from tmws_mcp.bodies import LIGHT
from tmws_mcp.ids import BOM, ID, as_id, id_in
from tmws_mcp.weight import check_weight

REST = 64 * 1024
"""Characters of a message beside the arguments of a call: an introduction has 300."""


@attrs.frozen(slots=False)
class BadFrame(Exception):
    """A line that is no JSON-RPC message; `request_id` is None where the line has none that can be read."""

    code: int
    message: str
    request_id: str | int | None = None


async def parse(line: bytes) -> JSONRPCRequest | JSONRPCNotification | None:
    """Return the message on a line, or None for an answer, which a server that asks nothing has no use for.

    Raises:
        BadFrame: not JSON in UTF-8, not one JSON-RPC object, a key that is there twice, or too many values.
    """
    return await aside(partial(_parsed, line), long=len(line) > LIGHT)


def _parsed(line: bytes) -> JSONRPCRequest | JSONRPCNotification | None:
    line = line.removeprefix(BOM)
    try:
        check_weight(line)
        value = orjson.loads(line)
    except TooManyValues as error:
        raise BadFrame(types.INVALID_REQUEST, error.message, id_in(line)) from None
    except orjson.JSONDecodeError as error:
        raise BadFrame(types.PARSE_ERROR, f"Parse error: {error.msg}", id_in(line)) from None
    if not isinstance(value, dict):
        raise BadFrame(types.INVALID_REQUEST, "A message is one JSON object; batches are not supported")
    if "method" not in value and value.keys() & {"result", "error"}:
        return None
    request_id = as_id(value.get("id"))
    if "id" in value:
        if request_id is None:
            reason = f"An id is a string of at most {ID} characters or an integer of at most 64 bits"
            raise BadFrame(types.INVALID_REQUEST, reason)
        value["id"] = request_id
    _check_rest(value, request_id)
    value = _faithful(line, value, request_id)
    if value.get("params") == []:  # as PHP writes an empty object
        value["params"] = {}
    try:
        return (JSONRPCRequest if "id" in value else JSONRPCNotification).model_validate(value, by_name=False)
    except ValidationError:
        reason = 'A message has "jsonrpc": "2.0", a method and, where there are parameters, an object "params"'
        raise BadFrame(types.INVALID_REQUEST, reason, request_id) from None


def written_frame(message: BaseModel) -> bytes:
    """Return a message as compact JSON."""
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _check_rest(value: dict[str, object], request_id: str | int | None) -> None:
    """Refuse what is large where no arguments are: the SDK looks at all of it, on the event loop."""
    params = value.get("params")
    if value.get("method") == "tools/call" and isinstance(params, dict):
        value = {**value, "params": {**params, "arguments": None}}
    if outweighs(value, REST):
        raise BadFrame(types.INVALID_REQUEST, f"Beside arguments a message has at most {REST} characters", request_id)
    if _is_deeper(value, JSON_DEPTH):
        reason = f"Beside arguments a message is nested at most {JSON_DEPTH} levels deep"
        raise BadFrame(types.INVALID_REQUEST, reason, request_id)


def _is_deeper(value: object, levels: int) -> bool:
    """Tell whether a value has more levels: the SDK, which writes it again, fails at some 250."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for item in layer
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, dict | list) for item in layer)


def _faithful(line: bytes, value: dict[str, object], request_id: str | int | None) -> dict[str, object]:
    try:
        found: dict[str, object] = faithful(line, value)
    except InvalidField as error:
        raise BadFrame(types.INVALID_REQUEST, error.message, request_id) from None
    return found
