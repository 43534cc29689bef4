"""JSON of any length, read one element at a time: the bytes of each are found without parsing what is around it."""

import re
from collections.abc import Iterator
from typing import BinaryIO

import attrs

ELEMENT_BYTES = 16 * 1024 * 1024
"""The longest element, such as a conversation: parsed it takes about 60 MB."""

_CHUNK = 64 * 1024
_TOKEN_BYTES = 1024 * 1024
"""The longest text or number that is an element by itself, or a name."""

_OPENING, _CLOSING = b"{[", b"}]"
_OUTSIDE, _IN_TEXT, _BEHIND_BACKSLASH = range(3)

_TO_A_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_TO_THE_QUOTE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("|\\?\Z)|[{}\[\]]|[^\s",:{}\[\]]++', re.DOTALL)
"""A text that does not end is one, too: those that seem to begin within it are not looked for one by one."""


@attrs.frozen
class Element:
    """A value in a file, counted from 1: its bytes, or why they are not there."""

    number: int
    raw: bytes | None = None
    problem: str = ""


@attrs.define
class Elements:
    """The elements of an open file: its objects, or what its arrays hold; `position` counts the bytes that were read.

    With `opened`, objects that are in no array are no elements, but hold them in arrays, as a page of an answer does.
    At most one element is held at a time.
    """

    _file: BinaryIO
    _opened: bool
    position: int = attrs.field(default=0, init=False)
    _around: list[int] = attrs.field(factory=list, init=False)
    _number: int = attrs.field(default=0, init=False)
    _chunk: bytes = attrs.field(default=b"", init=False)
    _place: int = attrs.field(default=0, init=False)

    def __iter__(self) -> Iterator[Element]:
        while token := self._token():
            if token[0] in _CLOSING:
                del self._around[-1:]
            elif token[0] in _OPENING and self._holds_elements(token[0]):
                self._around.append(token[0])
            elif not self._around or self._around[-1] == ord("["):
                self._number += 1
                yield self._nested(token) if token[0] in _OPENING else self._scalar(token)

    def _holds_elements(self, opening: int) -> bool:
        """Tell whether what opens here is no element itself."""
        if self._around:
            return self._around[-1] == ord("{")
        return opening == ord("[") or self._opened

    def _token(self) -> bytes:
        """Go behind the next text, number, word or bracket and return it; empty at the end of the file.

        Of a text that does not end, or is too long, the first quotation mark stands for it.
        """
        while True:
            found = _TOKEN.search(self._chunk, self._place)
            start = len(self._chunk) if found is None else found.start()
            if (found is None or self._is_cut(found)) and self._read_on(start):
                continue
            if found is None:
                return b""
            self._place = found.end()
            return found[0] if found[1] in (None, b'"') else b'"'

    def _is_cut(self, found: re.Match[bytes]) -> bool:
        """Tell whether a token may go on behind the chunk: a text that does not end, or a word at its end."""
        return found.end() == len(self._chunk) and found[1] != b'"' and found[0][0] not in b"{}[]"

    def _read_on(self, start: int) -> bool:
        """Read more behind what is left of the chunk, and tell whether there was any."""
        more = self._file.read(_CHUNK) if len(self._chunk) - start < _TOKEN_BYTES else b""
        self.position += len(more)
        if more:
            self._chunk, self._place = self._chunk[start:] + more, 0
        return bool(more)

    def _scalar(self, token: bytes) -> Element:
        return Element(self._number, token) if token != b'"' else self._cut_off()

    def _cut_off(self) -> Element:
        self._place = len(self._chunk)
        return Element(self._number, problem="is not complete: the file ends there")

    def _nested(self, opening: bytes) -> Element:
        """Go behind the object or array that has begun, and return it."""
        kept: bytearray | None = bytearray(opening)
        depth, state = 1, _OUTSIDE
        while depth:
            if self._place == len(self._chunk) and not self._read_on(self._place):
                return self._cut_off()
            start = self._place
            depth, state = self._advance(depth, state)
            if kept is not None:
                kept += self._chunk[start : self._place]
                kept = kept if len(kept) <= ELEMENT_BYTES else None
        if kept is None:
            return Element(self._number, problem=f"is longer than {ELEMENT_BYTES} bytes")
        return Element(self._number, bytes(kept))

    def _advance(self, depth: int, state: int) -> tuple[int, int]:
        """Go to the end of the element, or of the chunk, and return how deep it is there, and whether in a text."""
        chunk, place = self._chunk, self._place
        while place < len(chunk) and depth:
            if state == _BEHIND_BACKSLASH:
                place, state = place + 1, _IN_TEXT
                continue
            place = self._end(_TO_A_BRACKET if state == _OUTSIDE else _TO_THE_QUOTE, place)
            if place == len(chunk):
                break
            byte = chunk[place]
            if state == _OUTSIDE:
                state = _IN_TEXT if byte == ord('"') else _OUTSIDE
                depth += (byte in _OPENING) - (byte in _CLOSING)
            else:
                state = _OUTSIDE if byte == ord('"') else _BEHIND_BACKSLASH
            place += 1
        self._place = place
        return depth, state

    def _end(self, pattern: re.Pattern[bytes], place: int) -> int:
        found = pattern.match(self._chunk, place)
        return place if found is None else found.end()
