"""One JSON document, such as a list of conversations, read one element at a time however long the file is."""

from collections.abc import Iterator
from typing import BinaryIO

import attrs

from tmws_cli.transfer.elements import Elements
from tmws_cli.transfer.records import Item, Refusal, contained, reason_of
from tmws_cli.transfer.values import items_in


@attrs.define
class JsonDocument:
    """The memories of an open file; `opened` as in Elements, which count the bytes that were read."""

    _elements: Elements
    total: int | None
    _ignore_unknown: bool
    _file_place: str | None

    @classmethod
    def of(
        cls, file: BinaryIO, total: int | None, *, ignore_unknown: bool, opened: bool, place: str | None
    ) -> "JsonDocument":
        """Begin with the first element of the file at a place; stdin has none."""
        return cls(Elements(file, opened), total, ignore_unknown, place)

    @property
    def position(self) -> int:
        """Return the bytes that were read."""
        return self._elements.position

    def __iter__(self) -> Iterator[Item]:
        place = "entry 0"
        try:
            for element in self._elements:
                place = f"entry {element.number}"
                if element.raw is None:
                    yield Refusal(place=place, reason=element.problem)
                else:
                    yield from contained(place, self._items(place, element.raw))
        except OSError as error:
            yield Refusal(place=f"behind {place}", reason=reason_of(error))

    def _items(self, place: str, raw: bytes) -> Iterator[Item]:
        return items_in(place, raw, ignore_unknown=self._ignore_unknown, in_lines=False, file=self._file_place)
