"""A Redis that may go and come back: who asks it never waits long for one that is gone."""

import logging
from contextlib import AsyncExitStack
from typing import Any

import anyio
import attrs

from tmws_adapters.redis.address import Address
from tmws_adapters.redis.clients import Client, open_client, shard_keys
from tmws_adapters.redis.errors import FAILURES, PART, unavailable
from tmws_adapters.redis.patience import patient
from tmws_core.errors import PartUnavailable

logger = logging.getLogger("tmws")

PATIENCE = 0.1
"""Seconds that a command may take, with the wait for a connection; to embed a query again takes 0.01 to 0.15."""

OPEN_SECONDS = 1.0
"""How long connecting and the first commands may take; no request waits for them."""

PAUSE = 0.25
"""Seconds between two attempts to reach a server that is gone; what takes two and more, a failover, is noticed soon."""

_KEPT_MILLISECONDS = 60_000

_PROBE = """
redis.call('TIME')
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return redis.call('GET', KEYS[1])
"""
"""What TMWS has to be allowed: a replica refuses it, and so does a server whose memory is full."""


@attrs.define(eq=False)
class Server:
    """Commands to a Redis, which fail at once while it is known to be gone.

    The first failure counts: from then on nothing is asked until a new connection, which is made in the background,
    has proven to work. `run` has to run beside; without it nothing is ever connected.
    """

    address: Address
    _pool_size: int = attrs.field(validator=attrs.validators.ge(1))
    _patience: float = PATIENCE
    _client: Client | None = attrs.field(default=None, init=False)
    _problem: PartUnavailable = attrs.field(init=False)
    _told_up: bool | None = attrs.field(default=None, init=False)
    _running: int = attrs.field(default=0, init=False)
    _places: anyio.Semaphore = attrs.field(init=False)
    _attempted: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _up: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _lost: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _idle: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._places = anyio.Semaphore(self._pool_size)
        self._problem = PartUnavailable(part=PART, reason=f"{self.address} is not connected")

    async def command(self, *arguments: str | bytes | float) -> Any:
        """Run one command and return what the driver makes of its answer.

        Raises:
            PartUnavailable: there is no answer, or the server refuses; at once while it is known to be gone.
        """
        client = self._client
        if client is None:
            raise attrs.evolve(self._problem)
        try:
            with patient(self._patience):
                return await self._run(client, arguments)
        except FAILURES as error:
            problem = unavailable(error, self.address)
            if self._client is client:
                self._client, self._problem, self._up = None, problem, anyio.Event()
                self._lost.set()
            raise problem from None

    async def up(self) -> None:
        """Wait until commands are answered."""
        await self._up.wait()

    async def attempted(self) -> None:
        """Wait until it is known whether the server can be reached, a second at most after `run` has begun."""
        await self._attempted.wait()

    async def health(self) -> None:
        """Return if the server answers, else raise PartUnavailable as `command` does."""
        await self.command("PING")

    async def examine(self) -> None:
        """Connect anew, whether or not `run` runs, and raise PartUnavailable if the server cannot be used."""
        async with AsyncExitStack() as stack:
            await self._proven(stack)

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost, for as long as it is let."""
        while True:
            began = anyio.current_time()
            async with AsyncExitStack() as stack:
                client = await self._connected(stack)
                self._attempted.set()
                if client is not None:
                    await self._serve(client)
            if anyio.current_time() - began < PAUSE:
                await anyio.sleep(PAUSE)

    async def _connected(self, stack: AsyncExitStack) -> Client | None:
        try:
            client = await self._proven(stack)
        except PartUnavailable as problem:
            self._problem = problem
            if self._told_up is not False:
                logger.warning("⚠️ Redis down: %s", problem.message)
                self._told_up = False
            return None
        if not self._told_up:
            logger.info("✅ Redis ready: %s, %s", self.address.kind, self.address)
            self._told_up = True
        return client

    async def _proven(self, stack: AsyncExitStack) -> Client:
        problem = self.address.untrusting
        if problem is not None:
            raise PartUnavailable(part=PART, reason=problem.reason, hint=problem.hint)
        try:
            with patient(OPEN_SECONDS):
                client = await stack.enter_async_context(open_client(self.address, OPEN_SECONDS))
                await self._fill(client)
        except FAILURES as error:
            raise unavailable(error, self.address) from None
        return client

    async def _fill(self, client: Client) -> None:
        """Prove that every primary can be used, on as many connections as will be: no request waits for one then."""
        keys = shard_keys(client)
        failures: list[BaseException] = []

        async def prove(key: str) -> None:
            try:
                await client.execute_command("EVAL", _PROBE, 1, key, _KEPT_MILLISECONDS)
            except FAILURES as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for number in range(max(self._pool_size, len(keys))):
                tasks.start_soon(prove, keys[number % len(keys)])
        if failures:
            raise failures[0]

    async def _serve(self, client: Client) -> None:
        """Let commands through until one fails, and wait for those that are on their way."""
        self._client, self._lost = client, anyio.Event()
        self._up.set()
        try:
            await self._lost.wait()
        finally:
            self._client = None
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _run(self, client: Client, arguments: tuple[str | bytes | float, ...]) -> Any:
        self._running += 1
        try:
            async with self._places:
                return await client.execute_command(*arguments)
        finally:
            self._running -= 1
            self._idle.set()
