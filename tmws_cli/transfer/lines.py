"""JSON lines: one memory a line, read one at a time however long the file is."""

from collections.abc import Iterator
from typing import BinaryIO

import attrs

from tmws_cli.transfer.records import Item, Refusal, contained, reason_of
from tmws_cli.transfer.values import items_in

LINE_BYTES = 1024 * 1024
"""The longest line: more than a memory with a piece of its former texts can need, however they are escaped."""

_BOM = b"\xef\xbb\xbf"


@attrs.define
class JsonLines:
    """The memories of an open file; `position` counts the bytes that were read, `total` those there are."""

    _file: BinaryIO
    total: int | None
    _ignore_unknown: bool
    _file_place: str | None = None
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
                    yield from contained(place, self._items(place, line.removeprefix(_BOM)))
        except OSError as error:
            yield Refusal(place=f"behind line {number}", reason=reason_of(error))

    def _items(self, place: str, line: bytes) -> Iterator[Item]:
        return items_in(place, line, ignore_unknown=self._ignore_unknown, in_lines=True, file=self._file_place)

    def _skip_the_rest(self, part: bytes) -> None:
        while part and not part.endswith(b"\n"):
            part = self._file.readline(LINE_BYTES)
            self.position += len(part)
