"""Two ways of being cancelled: anyio's scopes, which insist and can be shielded, and asyncio's tasks, which do neither.

Whoever uses TMWS as a library may cancel its tasks as asyncio does.
"""

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


async def in_any_case(work: Callable[[], Awaitable[None]]) -> None:
    """Do work that can be done twice to its end, however the task is cancelled; the cancellation is passed on then."""
    cancelled: BaseException | None = None
    with anyio.CancelScope(shield=True):
        while True:
            try:
                await work()
                break
            except anyio.get_cancelled_exc_class() as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled


async def in_thread(work: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
    """Return what `work` returns in a worker thread, which has ended whenever this has, however the task is cancelled.

    Asyncio would leave the thread at work while its task gives up the locks that it holds for it. What is once begun is
    done to its end; then the cancellation is passed on, and what `work` returned is lost.
    """
    results: list[T] = []
    begun = threading.Event()
    working = threading.Lock()

    def once() -> None:
        with working:
            if not begun.is_set():
                begun.set()
                results.append(work())

    async with limiter or anyio.to_thread.current_default_thread_limiter():
        # The limiter is held until the end as well.
        own = anyio.CapacityLimiter(1)
        await in_any_case(lambda: anyio.to_thread.run_sync(once, limiter=own))
    return results[0]


async def as_scopes_do(work: Callable[[], Awaitable[T]]) -> T:
    """Do work of a library that counts on anyio's way of cancelling, however the task is cancelled.

    Httpx loses a connection of its pool where a task is cancelled only once: it counts as used for ever.
    """
    done: list[T] = []
    failed: list[Exception] = []

    async def run() -> None:
        try:
            done.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again outside, not as one of a group
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if failed:
        raise failed[0]
    return done[0]
