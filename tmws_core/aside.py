"""Work that grows with a text, kept off the event loop, which has everybody else to answer, and fair between agents."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
import attrs
from anyio.lowlevel import RunVar

from tmws_core.turns import Turns

T = TypeVar("T")

SHORT = 2048
"""Characters that are worked on at once, in a millisecond or two; a trip to a thread takes 0.1 ms."""

PIECE = 64 * 1024
"""Characters of one trip: then it is the turn of whoever waits, behind a batch of megabytes, too."""

THREADS = 2
"""Trips at once: more of them would only take the interpreter from the event loop in turns."""


@attrs.frozen
class _Threads:
    """The threads of one event loop, and who waits for them: of each agent one trip of either kind.

    What is patient has one thread at most, so that whoever asks does not wait behind those who store.
    """

    limiter: anyio.CapacityLimiter = attrs.field(factory=lambda: anyio.CapacityLimiter(THREADS))
    one: anyio.Semaphore = attrs.field(factory=lambda: anyio.Semaphore(THREADS - 1))
    patient: Turns = attrs.field(factory=lambda: Turns(1))
    others: Turns = attrs.field(factory=lambda: Turns(1))


_threads: RunVar[_Threads] = RunVar("tmws_core.aside")

_whose: ContextVar[str] = ContextVar("tmws_core.aside.whose", default="")


@contextmanager
def on_behalf_of(whose: str) -> Iterator[None]:
    """Let what is done aside in the block, and in tasks begun there, take the turns of an agent.

    What nobody has asked for takes turns of its own.
    """
    token = _whose.set(whose)
    try:
        yield
    finally:
        _whose.reset(token)


class Aside(Protocol):
    """How long work is done: `aside` or `at_once`."""

    async def __call__(self, work: Callable[[], T], *, long: bool) -> T:
        """Return what `work` returns."""
        ...


async def aside(work: Callable[[], T], *, long: bool, patient: bool = False) -> T:
    """Return what `work` returns: if it is long it runs in a worker thread, or else at once.

    It waits for a turn: whoever holds what others wait for, such as a snapshot, uses `at_once`. What stores is
    `patient`.
    """
    if not long:
        return work()
    threads = _threads.get(None)
    if threads is None:
        threads = _Threads()
        _threads.set(threads)
    turns, one = (threads.patient, threads.one) if patient else (threads.others, nullcontext())
    async with turns.of(_whose.get()), one:
        return await anyio.to_thread.run_sync(work, limiter=threads.limiter)


async def at_once(work: Callable[[], T], *, long: bool) -> T:
    """Return the same, but wait for no other work; for what is short compared with what it is done within."""
    return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1)) if long else work()


async def each_aside(work: Callable[[str], T], texts: Sequence[str], *, patient: bool = False) -> list[T]:
    """Return what `work` makes of each of the texts, as `aside` does."""
    made: list[T] = []
    for piece in _pieces(texts):
        made += await aside(partial(_each, work, piece), long=sum(map(len, piece)) > SHORT, patient=patient)
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
