"""Values that stand on stdin, in a file, or as JSON on the command line."""

import sys
from codecs import BOM_UTF8
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
    """Return the text on stdin without its last line break, and without the mark of UTF-8 that it may begin with.

    Raises:
        ContentTooLarge: it is longer than a memory may be.
        InvalidField: it is no UTF-8.
    """
    raw = _stdin().read(CONTENT_BYTES + 6).removeprefix(BOM_UTF8).removesuffix(b"\n").removesuffix(b"\r")
    if len(raw) > CONTENT_BYTES:
        raise ContentTooLarge(
            name=name,
            reason=f"has more than {CONTENT_BYTES} bytes on stdin",
            hint="Split the text over several memories",
        )
    try:
        return raw.decode()
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
    raw = raw.removeprefix(BOM_UTF8)
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
