"""Locks for which others must not queue up: whoever comes while one is waited for has to wait behind it."""

from collections.abc import Awaitable, Callable

import anyio

from tmws_adapters.postgres.connections import Connections
from tmws_adapters.postgres.session import Session
from tmws_core.errors import StorageBusy

MOMENT = 100
"""Milliseconds that a lock is waited for, and everybody who comes meanwhile behind it."""

PAUSE = 0.1
"""Seconds between two attempts, in which those who came meanwhile go on."""


async def tried(connections: Connections, work: Callable[[Session], Awaitable[None]], attempts: int) -> None:
    """Do work in a unit that waits for locks for a moment only, again and again.

    Raises:
        StorageBusy: somebody kept a lock all the time.
    """
    while True:
        attempts -= 1
        try:
            async with connections.unit() as unit:
                await unit.run(f"SET LOCAL lock_timeout = {MOMENT}")
                await work(unit)
        except StorageBusy:
            if attempts <= 0:
                raise
        else:
            return
        await anyio.sleep(PAUSE)
