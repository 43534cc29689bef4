"""JSON lines: one memory a line, read one at a time however long the file is."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import attrs
import orjson

from tmws_cli.transfer.records import HISTORY_OF, Item, Refusal, contained, continuation_of, reason_of, record_of
from tmws_core.doubles import check_doubles

LINE_BYTES = 1024 * 1024
"""The longest line: more than a memory with a piece of its former texts can need, however they are escaped."""

_BOM = b"\xef\xbb\xbf"


@attrs.define
class JsonLines:
    """The memories of an open file; `position` counts the bytes that were read, `total` those there are."""

    _file: BinaryIO
    total: int | None
    _ignore_unknown: bool
    position: int = attrs.field(default=0, init=False)

    def __iter__(self) -> Iterator[Item]:
        number = 0
        try:
            while line := self._file.readline(LINE_BYTES + 1):
                number += 1
                self.position += len(line)
                place = f"line {number}"
                if len(line) > LINE_BYTES:
                    yield Refusal(place=place, reason=f"is longer than {LINE_BYTES} bytes")
                    self._skip_the_rest(line)
                elif line.removeprefix(_BOM).strip():
                    yield from contained(place, self._read(place, line.removeprefix(_BOM)))
        except OSError as error:
            yield Refusal(place=f"behind line {number}", reason=reason_of(error))

    def _read(self, place: str, line: bytes) -> Iterator[Item]:
        try:
            fields: Any = orjson.loads(line)
            check_doubles(line, fields)
        except orjson.JSONDecodeError as error:
            yield Refusal(place=place, reason=f"is no JSON: {error}")
            return
        if isinstance(fields, dict) and HISTORY_OF in fields:
            yield continuation_of(place, fields)
        elif isinstance(fields, dict):
            yield record_of(place, fields, ignore_unknown=self._ignore_unknown)
        else:
            yield Refusal(place=place, reason="is no JSON object")

    def _skip_the_rest(self, part: bytes) -> None:
        while part and not part.endswith(b"\n"):
            part = self._file.readline(LINE_BYTES)
            self.position += len(part)
