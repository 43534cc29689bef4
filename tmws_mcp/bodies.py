"""Request bodies: all of one, in time, and JSON."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import orjson
from starlette.requests import ClientDisconnect, Request

from tmws_core.aside import aside
from tmws_core.doubles import faithful
from tmws_core.errors import MalformedRequest, RequestTimedOut, RequestTooLarge
from tmws_mcp.ids import BOM
from tmws_mcp.sharing import claim_of
from tmws_mcp.weight import check_weight

BODY_BYTES = 8 * 1024 * 1024
"""The largest body that is read: a batch of 1,000 memories of 8 KiB each; a line of stdio has the same limit."""

LIGHT = 16 * 1024
"""Bytes that are parsed at once, whatever they are: 1 ms for empty lists."""


SMALL = 64 * 1024
"""Bytes of a body that need no room: what the server reads of any request, whoever sends it."""

_CHUNKED = 4 * SMALL
"""Bytes of a body in chunks, which tell how many they are when they have come, before it has room for the largest."""


async def read_body(request: Request, seconds: float) -> bytes:
    """Return the whole body; one that is not SMALL waits for room first, and has it until the request is answered.

    Raises:
        RequestTooLarge: it has more than BODY_BYTES; what is declared as larger is not read at all.
        RequestTimedOut: it did not arrive within `seconds`, before or after waiting.
        RateLimited, Overloaded: there was no room; see `Claim.body`.
        MalformedRequest: the client hung up before the end.
    """
    declared = request.headers.get("content-length", "")
    steps = (int(declared),) if declared.isdigit() else (SMALL, _CHUNKED, BODY_BYTES)
    if steps[0] > BODY_BYTES:
        raise RequestTooLarge(limit=BODY_BYTES)
    body, chunks, claim = bytearray(), request.stream(), claim_of(request)
    for most in steps:
        if most > SMALL:
            await claim.body(most)
        await _read(body, chunks, most, seconds)
        if len(body) <= most:
            claim.received(len(body))
            return bytes(body)
    raise RequestTooLarge(limit=BODY_BYTES)


async def _read(body: bytearray, chunks: AsyncIterator[bytes], most: int, seconds: float) -> None:
    """Read until a body has ended, or has more bytes than `most`."""
    try:
        with anyio.fail_after(seconds):
            while len(body) <= most:
                body += await anext(chunks)
    except StopAsyncIteration:
        return
    except TimeoutError:
        raise RequestTimedOut(seconds=seconds) from None
    except ClientDisconnect:
        raise MalformedRequest(reason="The body ended before its end") from None


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
    found: dict[str, Any] = faithful(body, value)
    return found
