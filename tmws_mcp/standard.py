"""Standard input and output as the wire of a protocol, without threads: whatever waits can be cancelled."""

import os
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import anyio.lowlevel
import attrs

_CHUNK = 64 * 1024
"""Bytes a read: the capacity of a pipe on Linux."""


@attrs.frozen
class Wire:
    """Two file descriptors, of pipes, sockets, terminals or files."""

    source: int
    sink: int

    async def lines(self, limit: int) -> AsyncGenerator[bytes | None, None]:
        """Yield each line without its end, or None for a line of more than `limit` bytes, which is not kept."""
        kept = bytearray()
        over = False
        while chunk := await self._read():
            *ended, rest = chunk.split(b"\n")
            for part in ended:
                kept += part
                yield None if over or len(kept) > limit else bytes(kept)
                kept.clear()
                over = False
            kept += rest
            if len(kept) > limit:
                over = True
                kept.clear()
        if over or kept:
            yield None if over else bytes(kept)

    async def write(self, data: bytes) -> None:
        """Write everything; there is no checkpoint after the last byte.

        Raises:
            ConnectionError: nobody reads any more.
        """
        rest = memoryview(data)
        while rest:
            await _ready(anyio.wait_writable, self.sink)
            try:
                # What is writable takes PIPE_BUF bytes without blocking; more might block the whole process.
                rest = rest[os.write(self.sink, rest[: select.PIPE_BUF]) :]
            except BlockingIOError:
                continue

    async def _read(self) -> bytes:
        while True:
            await _ready(anyio.wait_readable, self.source)
            try:
                return os.read(self.source, _CHUNK)
            except BlockingIOError:
                continue
            except ConnectionError:  # a socket whose other end is gone
                return b""


async def _ready(wait: Callable[[int], Awaitable[None]], descriptor: int) -> None:
    try:
        await wait(descriptor)
    except PermissionError:  # epoll refuses files and /dev/null: they never block
        await anyio.lowlevel.checkpoint()


@contextmanager
def claimed() -> Iterator[Wire]:
    """Take standard input and output for the wire; meanwhile prints go to stderr, and reads find nothing."""
    wire = Wire(os.dup(0), os.dup(1))
    try:
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
        os.dup2(2, 1)
        yield wire
    finally:
        for descriptor, private in enumerate((wire.source, wire.sink)):
            os.dup2(private, descriptor)
            os.close(private)
