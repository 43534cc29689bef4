"""A proxy between a client and a server, which does what networks do to connections."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import attrs
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


@attrs.define(eq=False)
class Proxy:
    """Passes bytes on in both directions."""

    server: int
    port: int = 0
    _word: bytes = b""
    _open: set[SocketStream] = attrs.field(factory=set, init=False)
    _swallowed: set[SocketStream] = attrs.field(factory=set, init=False)

    def cut(self) -> int:
        """Break all connections without a word, and return how many there were."""
        broken, self._open = self._open, set()
        for each in broken:
            each.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_RDWR)
        return len(broken)

    def cut_behind(self, word: bytes) -> None:
        """Pass on what has this word in it the next time, and break all connections before any answer comes."""
        self._word = word

    def swallow(self) -> int:
        """Keep to itself what is sent over the present connections, for ever, and return how many there are."""
        self._swallowed |= self._open
        return len(self._open)

    async def serve(self, client: SocketStream) -> None:
        """Connect a client with the server."""
        with suppress(*_BROKEN):
            async with client, await anyio.connect_tcp("127.0.0.1", self.server) as server:
                self._open |= {client, server}
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._pass, client, server, tasks)
                    tasks.start_soon(self._pass, server, client, tasks)
                self._open -= {client, server}

    async def _pass(self, source: SocketStream, target: SocketStream, tasks: TaskGroup) -> None:
        with suppress(*_BROKEN):
            while True:
                data = await source.receive()
                if source not in self._swallowed:
                    await target.send(data)
                if self._word and self._word in data:
                    self._word = b""
                    self.cut()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    """Yield a proxy to a port of this machine."""
    proxy = Proxy(port)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        proxy.port = listener.extra(SocketAttribute.local_port)
        tasks.start_soon(listener.serve, proxy.serve)
        yield proxy
        tasks.cancel_scope.cancel()
