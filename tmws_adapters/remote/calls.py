"""The owner of a database on this machine: lines of JSON over one connection, answered in any order."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import anyio.to_thread
import attrs
import orjson
from anyio.abc import TaskGroup

from tmws_adapters.local.asking import Lost
from tmws_adapters.local.finding import Link
from tmws_adapters.local.limits import LINE_BYTES
from tmws_adapters.local.patience import GRACE_SECONDS, told_by
from tmws_adapters.remote.failures import PART, ServiceUnreachable, error_of
from tmws_core.errors import RequestTimedOut, RequestTooLarge

_CHUNK = 64 * 1024
"""Bytes a read."""


@attrs.define(eq=False)
class _Waiting:
    """A call without an answer."""

    done: anyio.Event = attrs.field(factory=anyio.Event)
    answer: dict[str, Any] | None = None


class _Line:
    """One connection: any number of calls wait for their answers, and all are woken when it breaks."""

    def __init__(self, link: Link) -> None:
        link.socket.setblocking(False)  # noqa: FBT003 - the socket module's signature
        self.limit = told_by(link.welcome) + GRACE_SECONDS
        self._socket = link.socket
        self._broken = False
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._outgoing, self._lines = anyio.create_memory_object_stream[bytes](0)

    def is_broken(self) -> bool:
        """Tell whether the other end has hung up, even if nobody has had the time to notice."""
        if not self._broken:
            try:
                return not self._socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except OSError:
                return True
        return True

    async def run(self) -> None:
        """Write and read until the connection breaks."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, tasks.cancel_scope)
                await self._read()
                tasks.cancel_scope.cancel()
        finally:
            self._broken = True
            self._outgoing.close()
            self._lines.close()
            self._socket.close()
            for waiting in self._waiting.values():
                waiting.done.set()

    async def ask(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return what is answered; a call that is cancelled is forgotten, and its answer ignored."""
        number = next(self._numbers)
        line = orjson.dumps({"id": number, "operation": name, "arguments": arguments}) + b"\n"
        if len(line) > LINE_BYTES:
            raise RequestTooLarge(limit=LINE_BYTES)
        waiting = self._waiting[number] = _Waiting()
        try:
            await self._outgoing.send(line)
            await waiting.done.wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Lost from None
        finally:
            del self._waiting[number]
        if waiting.answer is None:
            raise Lost
        return waiting.answer

    async def _write(self, work: anyio.CancelScope) -> None:
        """Write whole lines, whoever is cancelled meanwhile."""
        async for line in self._lines:
            rest = memoryview(line)
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._socket)
                except OSError:
                    work.cancel()
                    return

    async def _read(self) -> None:
        kept = bytearray()
        while chunk := await self._receive():
            *ended, rest = chunk.split(b"\n")
            for part in ended:
                self._settle(bytes(kept + part))
                kept.clear()
            kept += rest

    async def _receive(self) -> bytes:
        while True:
            await anyio.wait_readable(self._socket)
            try:
                return self._socket.recv(_CHUNK)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    def _settle(self, line: bytes) -> None:
        answer = orjson.loads(line)
        waiting = self._waiting.get(answer["id"])
        if waiting is not None:
            waiting.answer = answer
            waiting.done.set()


@attrs.define
class LocalService:
    """The owner that `reach` connects to, which blocks; a connection that broke is replaced by the next call."""

    _reach: Callable[[], Link]
    _tasks: TaskGroup
    _line: _Line | None = None
    _closed: bool = False
    _turn: anyio.Lock = attrs.field(factory=anyio.Lock)

    async def ask(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See `Service.ask`; connecting is not interrupted, and takes as long as `reach` does."""
        line = await self.connect()
        try:
            with anyio.fail_after(line.limit):
                answer = await line.ask(name, arguments)
        except TimeoutError:
            raise RequestTimedOut(seconds=line.limit) from None
        if "error" in answer:
            raise error_of(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    async def connect(self) -> _Line:
        """Return the connection, which is made if there is none.

        Raises:
            TmwsError: whatever `reach` raises.
        """
        async with self._turn:
            if self._closed:
                raise ServiceUnreachable(part=PART, reason="the connection was closed", hint="Open it again")
            if self._line is None or self._line.is_broken():
                self._line = _Line(await anyio.to_thread.run_sync(self._reach))
                self._tasks.start_soon(self._line.run)
            return self._line

    def close(self) -> None:
        """Hang up; what waits for an answer gets none."""
        self._closed = True
        self._tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_calls(reach: Callable[[], Link]) -> AsyncIterator[LocalService]:
    """Open a connection to the owner; the errors are those of `reach`."""
    try:
        async with anyio.create_task_group() as tasks:
            service = LocalService(reach, tasks)
            try:
                await service.connect()
                yield service
            finally:
                service.close()
    except BaseExceptionGroup as group:
        raise (group.exceptions[0] if len(group.exceptions) == 1 else group) from None
