"""Large answers as JSON, written aside piece by piece: one call that writes megabytes would halt every thread."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import orjson

from tmws_core.aside import aside
from tmws_core.wire import outweighs
from tmws_mcp.readable import readable

LIGHT = 64 * 1024
"""Characters of an answer that are written at once, in less than a millisecond."""

_STEP = 256 * 1024
"""Characters that are quoted at a time."""


async def written(answer: dict[str, Any]) -> bytes:
    """Return an answer as JSON."""
    return await aside(partial(_written, answer), long=outweighs(answer, LIGHT))


async def written_and_told(answer: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return an answer as JSON, and what is to be read of it as a text in JSON."""

    def write() -> tuple[bytes, bytes]:
        return _written(answer), b'"' + b"".join(_quoted(readable(answer))) + b'"'

    return await aside(write, long=outweighs(answer, LIGHT))


def _written(answer: object) -> bytes:
    return orjson.dumps(_in_pieces(answer))


def _in_pieces(value: object) -> object:
    """Return objects with what the lists in them hold as JSON already."""
    match value:
        case dict():
            return {name: _in_pieces(item) for name, item in value.items()}
        case list() | tuple():
            return [orjson.Fragment(orjson.dumps(item)) for item in value]
    return value


def _quoted(text: str) -> Iterator[bytes]:
    """Yield a text as JSON without its quotation marks, in pieces."""
    for start in range(0, len(text), _STEP):
        yield orjson.dumps(text[start : start + _STEP])[1:-1]
