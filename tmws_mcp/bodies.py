"""Request bodies: all of one, in time, and JSON."""

from typing import Any

import anyio
import orjson
from starlette.requests import ClientDisconnect, Request

from tmws_core.errors import MalformedRequest, RequestTimedOut, RequestTooLarge

BODY_BYTES = 8 * 1024 * 1024
"""The largest body that is read: a batch of 1,000 memories of 8 KiB each; a line of stdio has the same limit."""


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


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; an empty body is the empty object.

    Raises:
        MalformedRequest: it is not JSON in UTF-8, is nested too deeply, or is something else than an object.
    """
    try:
        value = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(reason=f"The body is not valid JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise MalformedRequest(reason="The body is not a JSON object")
    return value
