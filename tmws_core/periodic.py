"""Work that comes back."""

from collections.abc import Awaitable, Callable

import anyio

LAST_SECONDS = 2.0
"""How long work may go on when it is to end: a store that answers takes milliseconds, and one that is away would hold
up the end of the process for as long as it is waited for."""


async def periodically(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do the work for ever, `seconds` after it was done before, and once more when cancelled.

    Cancelled while it is done, it has LAST_SECONDS to come to its end, and so has the last time. Where that is not
    enough the work is cancelled: it keeps what it could not do, for whoever says so.
    """
    try:
        while True:
            await anyio.sleep(seconds)
            await _to_its_end(work)
    finally:
        with anyio.move_on_after(LAST_SECONDS, shield=True):
            await work()


async def _to_its_end(work: Callable[[], Awaitable[None]]) -> None:
    done = anyio.Event()
    shield = anyio.CancelScope(shield=True)
    problems: list[Exception] = []

    async def run() -> None:
        with shield:
            try:
                await work()
            except Exception as problem:  # noqa: BLE001 - raised below, out of the group
                problems.append(problem)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await done.wait()
        finally:
            shield.deadline = anyio.current_time() + LAST_SECONDS
    if problems:
        raise problems[0]
