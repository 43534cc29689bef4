"""Answers over HTTP that their clients have not read."""

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

import attrs
from uvicorn.server import ServerState

UNREAD_BYTES = 32 * 1024 * 1024
"""What one address may leave unread before no more requests of it begin: two of the largest answers, or more of the
usual ones than it asks for at once."""

PROXY_BYTES = 4 * UNREAD_BYTES
"""The same for a proxy, which many stand behind; it reads at once, whatever they do."""


class Writing(Protocol):
    """A connection whose peer does not keep up."""

    @property
    def network(self) -> str:
        """Whom the peer's address belongs to."""
        ...

    def unread(self) -> int:
        """Return how many bytes the peer has not read."""
        ...


@attrs.define
class Unread:
    """The connections of a server on which answers wait to be read."""

    _connections: set[Writing] = attrs.field(factory=set)
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    def add(self, connection: Writing) -> None:
        """Note that a connection waits for its peer."""
        self._connections.add(connection)

    def discard(self, connection: Writing) -> None:
        """Note that a connection waits no more."""
        self._connections.discard(connection)
        self._changed.set()
        self._changed = asyncio.Event()

    async def below(self, limit: int, network: str) -> None:
        """Wait until the peers of a network have left fewer bytes than the limit unread."""
        while self._connections and self._of(network) >= limit:
            await self._changed.wait()

    def _of(self, network: str) -> int:
        return sum(connection.unread() for connection in self._connections if connection.network == network)


_servers: WeakKeyDictionary[ServerState, Unread] = WeakKeyDictionary()


def unread_of(state: ServerState) -> Unread:
    """Return what is unread on the connections of a server."""
    return _servers.setdefault(state, Unread())
