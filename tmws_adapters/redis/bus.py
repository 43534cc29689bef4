"""A bus between servers."""

import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import anyio
import attrs
import orjson

from tmws_adapters.redis.clients import Client, open_client
from tmws_adapters.redis.errors import FAILURES, unavailable
from tmws_adapters.redis.server import OPEN_SECONDS, PAUSE, Server
from tmws_core.domain.events import MemoriesChanged
from tmws_core.errors import PartUnavailable
from tmws_core.ports.bus import Bus

STREAM = "tmws:events"

KEPT = 1000
"""Entries of the stream that Redis keeps, at least: 100 KB with one memory each."""

BACKLOG = 256
"""Events that wait for Redis while it is down, the newest ones."""

BATCH = 256
"""Entries that are read at once, fewer than are KEPT."""

BLOCK_SECONDS = 0.5
"""How long a read waits for an event; after OPEN_SECONDS without an answer the server is gone."""

_SOMETHING = MemoriesChanged(memory_ids=())
"""What a listener is told that may have missed events."""

_BEGINNING = (0, 0)

_STAND = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
return {first[1] and first[1][1] or '0-0', last[1] and last[1][1] or '0-0'}
"""
"""The ids of the first and the last entry that are kept."""

_Id = tuple[int, int]
"""Milliseconds and a number, in the order of the stream."""


@attrs.define(eq=False)
class RedisBus:
    """A Bus over `local`, which hands on what other servers publish, too.

    Own events are handed on at once and sent in the background; those of others come by a stream, read from where this
    server has come to. While Redis is down servers do not hear of one another, and the newest BACKLOG events wait.
    Whoever may have missed events gets one without memories. `run` has to run beside.
    """

    _server: Server
    _local: Bus
    problem: PartUnavailable | None = attrs.field(default=None, init=False)
    _hearing: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _name: str = attrs.field(factory=lambda: secrets.token_hex(8), init=False)
    _outgoing: deque[MemoriesChanged] = attrs.field(factory=lambda: deque(maxlen=BACKLOG), init=False)
    _published: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _position: _Id | None = attrs.field(default=None, init=False)

    async def publish(self, event: MemoriesChanged) -> None:
        """Hand an event to all listeners, those of other servers as soon as it can be sent; never waits for them."""
        await self._local.publish(event)
        self._outgoing.append(event)
        self._published.set()

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[MemoriesChanged]]:
        """Listen to what is published while the block runs, in order; that of another server in its order."""
        return self._local.subscribe()

    async def connected(self) -> None:
        """Wait until what other servers publish is heard."""
        await self._hearing.wait()

    async def run(self) -> None:
        """Send and receive, for as long as it is let."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send)
            tasks.start_soon(self._receive)

    async def _send(self) -> None:
        while True:
            await self._published.wait()
            await self._server.up()
            if not self._outgoing:
                self._published = anyio.Event()
                continue
            events = list(self._outgoing)
            self._outgoing.clear()
            data = orjson.dumps([attrs.asdict(event) for event in events])
            try:
                await self._server.command(
                    "XADD", STREAM, "MAXLEN", "~", KEPT, "*", "server", self._name, "events", data
                )
            except PartUnavailable:
                self._outgoing = deque([*events, *self._outgoing], maxlen=BACKLOG)

    async def _receive(self) -> None:
        """Read on a connection of its own: a command that waits keeps others from it."""
        while True:
            await self._server.up()
            try:
                async with open_client(self._server.address, OPEN_SECONDS) as client:
                    await self._resume(client)
                    self.problem = None
                    self._hearing.set()
                    while True:
                        await self._read(client)
            except FAILURES as error:
                self.problem = unavailable(error, self._server.address)
                if self._hearing.is_set():  # another one would leave alone who waits for this one
                    self._hearing = anyio.Event()
            await anyio.sleep(PAUSE)

    async def _resume(self, client: Client) -> None:
        """Find out where to read on: at the end at first, and before it where events were lost with a server."""
        _, last = await _stand(client)
        if self._position is None:
            self._position = last
        else:
            self._position = min(self._position, last)
            await self._local.publish(_SOMETHING)

    async def _read(self, client: Client) -> None:
        """Wait a moment for events, and hand on those of other servers."""
        before = self._position or _BEGINNING
        milliseconds = int(BLOCK_SECONDS * 1000)
        answer = await client.execute_command(
            "XREAD", "COUNT", BATCH, "BLOCK", milliseconds, "STREAMS", STREAM, f"{before[0]}-{before[1]}"
        )
        if not answer:
            return
        ((_, entries),) = answer
        if len(entries) == BATCH:
            first, _ = await _stand(client)
            if before < first:
                await self._local.publish(_SOMETHING)
        for name, fields in entries:
            self._position = _id(name)
            if fields.get(b"server") != self._name.encode():
                for event in _events(fields.get(b"events", b"")):
                    await self._local.publish(event)


async def _stand(client: Client) -> tuple[_Id, _Id]:
    first, last = await client.execute_command("EVAL", _STAND, 1, STREAM)
    return _id(first), _id(last)


def _id(text: bytes) -> _Id:
    milliseconds, _, number = text.partition(b"-")
    return int(milliseconds), int(number)


def _events(data: bytes) -> list[MemoriesChanged]:
    """Return the events that were sent together; what another version of TMWS sends says that something has changed."""
    try:
        return [
            MemoriesChanged(memory_ids=tuple(map(str, event["memory_ids"])), unembedded=int(event["unembedded"]))
            for event in orjson.loads(data)
        ]
    except (KeyError, TypeError, ValueError):
        return [_SOMETHING]
