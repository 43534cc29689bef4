"""How long an answer is waited for: by the time in which this process could have heard it."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

STEP = 0.01
"""Seconds that one pass of the event loop counts as, at most: a command takes about four, over all ten in 0.1 s."""


@contextmanager
def patient(seconds: float) -> Iterator[None]:
    """Give the block up with TimeoutError after so many seconds.

    Where the loop has much else to do, an answer that is there is read late: that says nothing of who has sent it. So
    time counts by the passes of the loop, each as STEP at most, and a loop that is late waits longer.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def count(left: int) -> None:
        nonlocal timer
        if left:
            timer = loop.call_later(STEP, count, left - 1)
        else:
            scope.cancel()

    with anyio.CancelScope() as scope:
        timer = loop.call_later(STEP, count, math.ceil(seconds / STEP) - 1)
        try:
            yield
        finally:
            timer.cancel()
    if scope.cancelled_caught:
        raise TimeoutError
