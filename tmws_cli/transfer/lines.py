"""JSON lines: one memory a line, read one at a time however long the file is."""

from collections.abc import Iterator
from typing import BinaryIO

import attrs

from tmws_cli.transfer.elements import ELEMENT_BYTES
from tmws_cli.transfer.formats.entries import Turns
from tmws_cli.transfer.records import Item, Refusal, Skip, contained, reason_of
from tmws_cli.transfer.values import items_in

LINE_BYTES = 1024 * 1024
"""The longest line: more than a memory with a piece of its former texts can need, however they are escaped."""

NO_TURNS = "no turns: calls of tools and what they answered, thoughts, commands, notes of the program"
"""Why lines of a session are passed over."""

_BOM = b"\xef\xbb\xbf"


@attrs.define
class JsonLines:
    """The memories of an open file; `position` counts the bytes that were read, `total` those there are.

    With `turns`, it holds a session. Its lines may be as long as an element of a document, since they hold pictures,
    and those in which nobody says anything are told of in one, at the end.
    """

    _file: BinaryIO
    total: int | None
    _ignore_unknown: bool
    _file_place: str | None = None
    _turns: Turns | None = None
    position: int = attrs.field(default=0, init=False)
    _passed_over: int = attrs.field(default=0, init=False)

    def __iter__(self) -> Iterator[Item]:
        number = 0
        longest = ELEMENT_BYTES if self._turns else LINE_BYTES
        try:
            while line := self._file.readline(longest + 1):
                number += 1
                self.position += len(line)
                place = f"line {number}"
                if len(line) > longest:
                    yield Refusal(place=place, reason=f"is longer than {longest} bytes")
                    self._skip_the_rest(line)
                elif line.removeprefix(_BOM).strip():
                    yield from contained(place, self._items(place, line.removeprefix(_BOM)))
        except OSError as error:
            yield Refusal(place=f"behind line {number}", reason=reason_of(error))
        if self._passed_over:
            yield Skip.of_many(self._passed_over, ("line", "lines"), NO_TURNS)

    def _items(self, place: str, line: bytes) -> Iterator[Item]:
        for item in items_in(
            place,
            line,
            ignore_unknown=self._ignore_unknown,
            in_lines=True,
            file=self._file_place,
            turns=self._turns,
        ):
            if self._turns and isinstance(item, Skip):
                self._passed_over += 1
            else:
                yield item

    def _skip_the_rest(self, part: bytes) -> None:
        while part and not part.endswith(b"\n"):
            part = self._file.readline(LINE_BYTES)
            self.position += len(part)
