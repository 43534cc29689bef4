"""Connections to Redis, whatever it is made of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from typing import Any, Protocol

import anyio
import attrs
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from tmws_adapters.redis.address import Address, Node
from tmws_adapters.redis.errors import FAILURES, NoPrimary, NoSentinel, NotPrimary, SentinelRefused

CLOSE_SECONDS = 1.0
"""How long a client may take to close its connections; a peer that is gone is not waited for."""

_UNBOUNDED = 2**31
"""Connections of a driver's pool: who uses it bounds how many commands run at once."""

PROBE = "tmws:probe"

PROBES = 100
"""Keys of which each primary of a cluster has one, unless it has less than a twentieth of the slots."""


class Client(Protocol):
    """A pool of connections; safe for any number of tasks."""

    async def execute_command(self, *args: Any) -> Any:
        """Run one command; whatever goes wrong is one of errors.FAILURES."""
        ...


@asynccontextmanager
async def open_client(address: Address, seconds: float) -> AsyncIterator[Client]:
    """Open a pool of connections to whoever can be written; what it cannot tell at once it tells at the first command.

    `seconds` is how long it may take to connect, and to wait for an answer. A pool is for one life of the server: after
    any failure a new one finds out who is the primary now.
    """
    match address.kind:
        case "cluster":
            async with _open_cluster(address, seconds) as cluster:
                yield cluster
        case "sentinel":
            async with _open_node(address, await _primary(address, seconds), seconds) as primary:
                role, *_ = await primary.execute_command("ROLE")
                if role not in ("master", b"master"):
                    raise NotPrimary
                yield primary
        case "standalone":
            async with _open_node(address, address.nodes[0], seconds) as server:
                yield server


@asynccontextmanager
async def _open_node(address: Address, node: Node, seconds: float) -> AsyncIterator[Client]:
    pool = ConnectionPool(host=node[0], port=node[1], db=address.database, **_options(address, seconds))
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True), suppress(*FAILURES):
            await client.aclose()


@asynccontextmanager
async def _open_cluster(address: Address, seconds: float) -> AsyncIterator[RedisCluster]:
    options = _options(address, seconds)
    encrypted: dict[str, Any] = {name: options.pop(name) for name in ("connection_class", "context") if name in options}
    client = RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in address.nodes], **options)
    client.connection_kwargs.update(encrypted)  # it has no argument for them
    for node in client.startup_nodes:
        node.connection_kwargs.update(encrypted)
        node.connection_class = node.connection_kwargs.pop("connection_class", node.connection_class)
    try:
        await client.initialize()  # type: ignore[unused-awaitable]  # what it returns is itself
        yield client
    finally:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True), suppress(*FAILURES):
            await client.aclose()  # closes nothing once it has met a failure
            await client.nodes_manager.aclose()
            await client.nodes_manager.aclose("startup_nodes")


async def _primary(address: Address, seconds: float) -> Node:
    """Ask all Sentinels at once, and return what the first answer says; one that does not answer is not waited for."""
    found: Node | None = None
    failures: list[BaseException] = []
    asked = attrs.evolve(address, username=address.sentinel_username, password=address.sentinel_password, database=0)

    async def ask(sentinel: Node) -> None:
        nonlocal found
        try:
            async with _open_node(asked, sentinel, seconds) as client:
                answer = await client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
        except AuthenticationError:
            failures.append(SentinelRefused())
            return
        except FAILURES as error:
            failures.append(error)
            return
        if answer and found is None:
            found = (answer[0].decode(), int(answer[1]))
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for node in address.nodes:
            tasks.start_soon(ask, node)
    if found is None and len(failures) == len(address.nodes):
        raise failures[0] if isinstance(failures[0], SentinelRefused) else NoSentinel(failures[0])
    if found is None:
        raise NoPrimary
    return found


def shard_keys(client: Client) -> list[str]:
    """Return keys of which each is kept by another primary, so that together they are kept by all."""
    if not isinstance(client, RedisCluster):
        return [PROBE]
    keys: dict[str, str] = {}
    for number in range(PROBES):
        key = f"{PROBE}:{number}"
        node = client.get_node_from_key(key)
        if node is not None:
            keys.setdefault(node.name, key)
    return list(keys.values())


class _Encrypted(SSLConnection):
    """A connection in a context that many share, dropped without goodbye when a command on it is given up."""

    def __init__(self, context: SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context

    async def disconnect(
        self,
        nowait: bool = False,  # noqa: FBT001, FBT002 - as in the driver
        error: Exception | None = None,
        failure_count: int | None = None,
        health_check_failed: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Close the connection."""
        writer = self._writer
        await super().disconnect(nowait, error, failure_count, health_check_failed)
        if nowait and writer is not None:
            writer.transport.abort()


def _options(address: Address, seconds: float) -> dict[str, Any]:
    return {
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": _UNBOUNDED,
        "protocol": 2,
        **({} if address.tls is None else {"connection_class": _Encrypted, "context": address.tls}),
    }
