"""Work that comes back."""

from collections.abc import Awaitable, Callable

import anyio


async def periodically(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do the work for ever, `seconds` after it was done before, and once more when cancelled."""
    try:
        while True:
            await anyio.sleep(seconds)
            await work()
    finally:
        with anyio.CancelScope(shield=True):
            await work()
