"""Cancels work at a chosen one of its waits, so that every moment at which it can be given up is tried."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from itertools import count
from types import coroutine
from typing import Any

import anyio

Work = Callable[[], Coroutine[Any, Any, object]]

WAYS = ("scope", "task", "late", "twice")
"""By a scope of anyio; by its task, as asyncio does it; the same in the moment in which the answer is there; and once
more while the work cleans up."""

TURNS = "turns"
"""By its task after so many turns of the event loop: for work that lets a task of its own do the waiting."""

GROWTH = 1.2
"""How many more turns each time: a request to the own machine takes some hundred, spun as fast as they go."""

_Strike = Callable[[Any], None]
"""Takes what the work waits for: a future, or None for a pause of one turn."""


async def interruptions(work: Work, way: str) -> AsyncIterator[BaseException | None]:
    """Do the work again and again, cancelled at its first wait, its second and so on, until it has no wait left.

    Yields each time how it ended: with the error that it raised, or None.
    """
    for place in count(1):
        struck, error = await interrupted(work, place, way)
        if not struck:
            assert error is None, error
            return
        yield error


async def interrupted(work: Work, place: int, way: str) -> tuple[bool, BaseException | None]:
    """Do the work, cancel it at the wait with that number, and tell whether it came that far and what it raised."""
    scope = anyio.CancelScope()
    struck: list[int] = []

    def strike(waited: "asyncio.Future[object] | None") -> None:
        struck.append(place)
        if way == "scope":
            scope.cancel()
        elif way == "late" and waited is not None:
            waited.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()

    async def watched() -> None:
        with scope:
            if way == TURNS:
                await work()
            else:
                await _watched(work(), {place: strike, **({place + 1: strike} if way == "twice" else {})})

    def turn(left: int) -> None:
        if left and not task.done():
            asyncio.get_running_loop().call_soon(turn, left - 1)
        elif not task.done():
            strike(None)

    # A task of its own can be cancelled without the test.
    task = asyncio.ensure_future(watched())
    if way == TURNS:
        turn(int(GROWTH**place))
    await asyncio.wait([task])
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    return bool(struck), error


@coroutine
def _watched(work: Coroutine[Any, Any, object], strikes: dict[int, _Strike]) -> Generator[Any, Any, None]:
    steps = work.__await__()
    thrown: BaseException | None = None
    answer: Any = None
    for wait in count(1):
        try:
            waited = steps.send(answer) if thrown is None else steps.throw(thrown)
        except StopIteration:
            return
        strikes.get(wait, _spare)(waited)
        answer, thrown = None, None
        try:
            answer = yield waited
        except BaseException as error:  # noqa: BLE001 - it is the work's
            thrown = error


def _spare(_waited: object) -> None:
    pass
