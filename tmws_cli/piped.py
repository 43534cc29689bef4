"""Values that stand on stdin, in a file, or as JSON on the command line."""

import sys
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tmws_adapters.reading import regular_file
from tmws_core.domain.memory import BATCH, CONTENT_BYTES, METADATA_BYTES
from tmws_core.doubles import faithful
from tmws_core.errors import ContentTooLarge, InvalidField, RequestTooLarge

BATCH_BYTES = BATCH * (CONTENT_BYTES + METADATA_BYTES)
"""The longest file of create-batch: the most memories of one call, each as large as one may be."""


def piped_text(name: str) -> str:
    """Return the text on stdin without its last line break.

    Raises:
        ContentTooLarge: it is longer than a memory may be.
        InvalidField: it is no UTF-8.
    """
    raw = _stdin().read(CONTENT_BYTES + 2)
    if len(raw) > CONTENT_BYTES + 1:
        raise ContentTooLarge(
            name=name,
            reason=f"has more than {CONTENT_BYTES} bytes on stdin",
            hint="Split the text over several memories",
        )
    try:
        return raw.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise InvalidField(name=name, reason="is no UTF-8 on stdin", hint="Convert it to UTF-8") from None


def objects(name: str, path: str) -> list[Any]:
    """Return the objects in a file, or on stdin: a JSON array, or one object a line.

    Raises:
        InvalidField: it is no JSON.
        RequestTooLarge: it is longer than BATCH_BYTES.
        OSError: it cannot be read.
    """
    if path == "-":
        raw = _stdin().read(BATCH_BYTES + 1)
        if len(raw) > BATCH_BYTES:
            raise RequestTooLarge(limit=BATCH_BYTES)
    else:
        raw = regular_file(Path(path), BATCH_BYTES, name)
    if raw.lstrip().startswith(b"["):
        array: list[Any] = json_value(name, raw)
        return array
    lines = (line for line in raw.splitlines() if line.strip())
    return [json_value(f"{name}[{index}]", line) for index, line in enumerate(lines)]


def json_value(name: str, raw: bytes) -> Any:
    """Return a value that is written as JSON; InvalidField if it is none."""
    try:
        value = faithful(raw, orjson.loads(raw))
    except InvalidField as error:
        raise error.inside(name) from None
    except orjson.JSONDecodeError as error:
        raise InvalidField(
            name=name, reason=f"is no JSON: {error}", hint='Give JSON, such as {"key": "value"}'
        ) from None
    return value


def _stdin() -> BinaryIO:
    return sys.stdin.buffer
