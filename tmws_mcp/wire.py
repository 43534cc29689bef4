"""A socket as the wire of a protocol of lines, without threads: whatever waits can be cancelled."""

import math
import os
from collections.abc import AsyncGenerator

import anyio
import attrs

_CHUNK = 64 * 1024
"""Bytes a read or a write."""


@attrs.frozen
class Wire:
    """The descriptor of a socket that does not block; `patience` is how many seconds a write may get no further."""

    descriptor: int
    patience: float = math.inf

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
            ConnectionError: nobody reads any more, or has done so for as long as the `patience` lasts.
        """
        rest = memoryview(data)
        while rest:
            try:
                await self._writable()
                rest = rest[os.write(self.descriptor, rest[:_CHUNK]) :]
            except BlockingIOError:
                continue

    async def _writable(self) -> None:
        try:
            with anyio.fail_after(self.patience):
                await anyio.wait_writable(self.descriptor)
        except TimeoutError:
            raise ConnectionAbortedError from None

    async def _read(self) -> bytes:
        while True:
            await anyio.wait_readable(self.descriptor)
            try:
                return os.read(self.descriptor, _CHUNK)
            except BlockingIOError:
                continue
            except ConnectionError:  # the other end is gone
                return b""
