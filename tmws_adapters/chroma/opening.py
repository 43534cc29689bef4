"""Opening Chroma beside the work that waits for it."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
import anyio.to_thread
import attrs
from anyio.abc import TaskGroup

from tmws_adapters.cancellation import in_any_case, in_thread
from tmws_adapters.chroma.errors import PART
from tmws_core.errors import IndexLoading, IndexUnavailable

if TYPE_CHECKING:
    from tmws_adapters.chroma.partitions import Partitions

T = TypeVar("T")

logger = logging.getLogger(__name__)

LOADING_WAIT = timedelta(seconds=2)
"""How long a call waits for Chroma: importing it takes 0.8 s, opening 100,000 vectors 0.7 s (measured, two cores)."""

THREADS = 4
"""Calls at the same time; an embedded search computes on one core, the others wait for a server."""


class Chroma(Protocol):
    """An open Chroma."""

    def working(self) -> AbstractContextManager["Partitions"]:
        """Lend the partitions for one piece of work, and turn what fails in it into an IndexUnavailable."""
        ...

    def close(self) -> None:
        """Let go of it; nobody may be working."""
        ...


@attrs.define(eq=False)
class Opened:
    """A Chroma that a bounded number of threads work with."""

    _chroma: Chroma
    _closed: bool = attrs.field(default=False, init=False)
    _limiter: anyio.CapacityLimiter = attrs.field(factory=lambda: anyio.CapacityLimiter(THREADS), init=False)

    async def run(self, work: Callable[["Partitions"], T]) -> T:
        """Return the result of `work`, which may block."""
        return await in_thread(partial(self._work, work), self._limiter)

    async def close(self) -> None:
        """Close it when the work at hand is done."""
        async with AsyncExitStack() as turns:
            for turn in [object() for _ in range(THREADS)]:
                await self._limiter.acquire_on_behalf_of(turn)
                turns.callback(self._limiter.release_on_behalf_of, turn)
            if not self._closed:
                self._closed = True
                await in_thread(self._chroma.close)

    def _work(self, work: Callable[["Partitions"], T]) -> T:
        if self._closed:
            raise IndexUnavailable(part=PART, reason="was begun anew meanwhile", hint="Try again")
        with self._chroma.working() as partitions:
            return work(partitions)


@attrs.define(eq=False)
class _Attempt:
    done: anyio.Event = attrs.field(factory=anyio.Event)
    opened: Opened | None = None
    error: IndexUnavailable | None = None


@attrs.define(eq=False)
class Opening:
    """Opens Chroma in a thread when it is first needed, and again whenever it is needed after it failed.

    `_open` blocks; it is told whether to clear away what is there.
    """

    _tasks: TaskGroup
    _open: Callable[[bool], Chroma]
    _attempt: _Attempt | None = attrs.field(default=None, init=False)

    def begin(self, *, cleared: bool = False) -> _Attempt:
        """Begin to open it in the background, unless that has begun."""
        if self._attempt is None:
            self._attempt = _Attempt()
            self._tasks.start_soon(self._try, self._attempt, cleared)
        return self._attempt

    async def opened(self) -> Opened:
        """Return it when it is open; IndexUnavailable if it cannot be opened, IndexLoading not within LOADING_WAIT."""
        return await _result(self.begin())

    async def renew(self) -> None:
        """Close it, clear away what is there, and open it again."""
        await self.close()
        await _result(self.begin(cleared=True))

    async def close(self) -> None:
        """Close it when the work at hand is done."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None and attempt.opened is not None:
            # Nobody else knows of it any more.
            await in_any_case(attempt.opened.close)

    async def _try(self, attempt: _Attempt, cleared: bool) -> None:  # noqa: FBT001 - a task's arguments have no names
        try:
            attempt.opened = Opened(await anyio.to_thread.run_sync(self._open, cleared))
        except IndexUnavailable as error:
            logger.warning("The vector index is not open: %s", error.message)
            attempt.error = error
            self._attempt = None
        attempt.done.set()


async def _result(attempt: _Attempt) -> Opened:
    with anyio.move_on_after(LOADING_WAIT.total_seconds()):
        await attempt.done.wait()
    if attempt.error is not None:
        # A copy, because several calls may raise it.
        raise attrs.evolve(attempt.error) from attempt.error
    if attempt.opened is None:
        raise IndexLoading(part=PART, reason="is still loading", hint="Try again in a moment")
    return attempt.opened
