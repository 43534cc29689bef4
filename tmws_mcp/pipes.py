"""Lines over descriptors that are polled: what came so far of the next one, and what waits to be written."""

import os
from collections import deque

KEPT = 16 * 1024
"""Bytes that are kept of how a line begins that is too long, and of how it ends."""


class Overlong:
    """What is kept of a line that is too long."""

    __slots__ = ("begin", "end")

    def __init__(self, begin: bytes) -> None:
        self.begin = begin
        self.end = b""

    def add(self, part: bytes) -> None:
        """Take more of the line."""
        self.end = (self.end + part)[-KEPT:]


class Incoming:
    """Cuts bytes into lines of at most `limit` bytes; of a longer one little is kept."""

    __slots__ = ("_kept", "_limit", "_over")

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._over: Overlong | None = None

    def feed(self, chunk: bytes) -> list[bytes | Overlong]:
        """Return the lines that end in a chunk, each with its end."""
        *ended, rest = chunk.split(b"\n")
        lines = [self._cut(part) for part in ended]
        self._keep(rest)
        return lines

    def end(self) -> list[bytes | Overlong]:
        """Return the line that is cut off by the end, if there is one."""
        return [self._cut(b"")] if self._kept or self._over else []

    def _cut(self, part: bytes) -> bytes | Overlong:
        self._keep(part)
        line = self._over or bytes(self._kept) + b"\n"
        self._kept.clear()
        self._over = None
        return line

    def _keep(self, part: bytes) -> None:
        if self._over is None:
            self._kept += part
            if self._limit is None or len(self._kept) <= self._limit:
                return
            self._over = Overlong(bytes(self._kept[:KEPT]))
            part = bytes(self._kept[-KEPT:])
            self._kept.clear()
        self._over.add(part)


class Outgoing:
    """Lines that wait to be written, in order; `size` is how many bytes."""

    __slots__ = ("_at", "_lines", "_put", "size")

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._at = 0
        self._put = 0
        self.size = 0

    @property
    def written(self) -> int:
        """Return how many lines have been written to their end."""
        return self._put - len(self._lines)

    def put(self, line: bytes) -> int:
        """Add a line, and return its number, from 1."""
        self._lines.append(line)
        self.size += len(line)
        self._put += 1
        return self._put

    def write(self, descriptor: int, most: int) -> None:
        """Write at most so many bytes.

        Raises:
            OSError: it cannot be written to; BlockingIOError if only not now.
        """
        rest = memoryview(self._lines[0])[self._at : self._at + most]
        number = os.write(descriptor, rest)
        self._at += number
        self.size -= number
        if self._at == len(self._lines[0]):
            self._lines.popleft()
            self._at = 0

    def unwritten(self) -> list[bytes]:
        """Return the lines that have not been written to their end."""
        return list(self._lines)
