"""Request bodies: all of one, in time, and JSON."""

from functools import partial
from typing import Any

import anyio
import orjson
from starlette.requests import ClientDisconnect, Request

from tmws_core.aside import aside
from tmws_core.doubles import check_doubles
from tmws_core.errors import MalformedRequest, RequestTimedOut, RequestTooLarge
from tmws_mcp.ids import BOM
from tmws_mcp.weight import check_weight

BODY_BYTES = 8 * 1024 * 1024
"""The largest body that is read: a batch of 1,000 memories of 8 KiB each; a line of stdio has the same limit."""


LIGHT = 16 * 1024
"""Bytes that are parsed at once, whatever they are: 1 ms for empty lists."""


async def read_body(request: Request, seconds: float) -> bytes:
    """Return the whole body.

    Raises:
        RequestTooLarge: it has more than BODY_BYTES; what is declared as larger is not read at all.
        RequestTimedOut: it did not arrive within `seconds`.
        MalformedRequest: the client hung up before the end.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > BODY_BYTES:
        raise RequestTooLarge(limit=BODY_BYTES)
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES:
                    raise RequestTooLarge(limit=BODY_BYTES)
    except TimeoutError:
        raise RequestTimedOut(seconds=seconds) from None
    except ClientDisconnect:
        raise MalformedRequest(reason="The body ended before its end") from None
    return bytes(body)


async def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; an empty body is the empty object.

    Raises:
        TooManyValues: it has more than a batch can have; see `check_weight`.
        MalformedRequest: it is not JSON in UTF-8, is nested too deeply, or is something else than an object.
        InvalidField: an object in it has a key twice.
    """
    return await aside(partial(_parsed, body), long=len(body) > LIGHT)


def _parsed(body: bytes) -> dict[str, Any]:
    body = body.removeprefix(BOM)
    check_weight(body)
    try:
        value = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(reason=f"The body is not valid JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise MalformedRequest(reason="The body is not a JSON object")
    check_doubles(body, value)
    return value
