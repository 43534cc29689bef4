"""Work that grows with a text, kept off the event loop, which has everybody else to answer."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")

SHORT = 2048
"""Characters that are worked on at once, in a millisecond or two; a trip to a thread takes 0.1 ms."""

PIECE = 64 * 1024
"""Characters of one trip: then it is the turn of whoever waits, behind a batch of megabytes, too."""

THREADS = 2
"""Trips at once: more of them would only take the interpreter from the event loop in turns."""

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("tmws_core.aside")


class Aside(Protocol):
    """How long work is done: `aside` or `at_once`."""

    async def __call__(self, work: Callable[[], T], *, long: bool) -> T:
        """Return what `work` returns."""
        ...


async def aside(work: Callable[[], T], *, long: bool) -> T:
    """Return what `work` returns: if it is long it runs in a worker thread, or else at once."""
    if not long:
        return work()
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(work, limiter=limiter)


async def at_once(work: Callable[[], T], *, long: bool) -> T:
    """Return the same; it is for who holds what others wait for, such as a unit, and waits for no other work."""
    return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1)) if long else work()


async def each_aside(work: Callable[[str], T], texts: Sequence[str]) -> list[T]:
    """Return what `work` makes of each of the texts."""
    made: list[T] = []
    for piece in _pieces(texts):
        made += await aside(partial(_each, work, piece), long=sum(map(len, piece)) > SHORT)
    return made


def _each(work: Callable[[str], T], texts: Sequence[str]) -> list[T]:
    return [work(text) for text in texts]


def _pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in order, a PIECE at a time."""
    start = size = 0
    for place, text in enumerate(texts):
        if size and size + len(text) > PIECE:
            yield texts[start:place]
            start, size = place, 0
        size += len(text)
    if start < len(texts):
        yield texts[start:]
