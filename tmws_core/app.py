"""The application: one door through which every face calls every operation."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

import anyio

from tmws_core.aside import aside, on_behalf_of
from tmws_core.domain.agent import Caller
from tmws_core.domain.audit import Detail
from tmws_core.errors import (
    AppClosed,
    Forbidden,
    PartUnavailable,
    RequestTimedOut,
    StorageInterrupted,
    StorageOutcomeUnknown,
    TmwsError,
)
from tmws_core.lenient import request_of
from tmws_core.messages.memory import MemoryFound, MemoryPage
from tmws_core.messages.search import MemoriesFound
from tmws_core.operation import Effect, Operation, Request, named, operations_of
from tmws_core.ports.audit import Witness
from tmws_core.ports.metrics import Metrics
from tmws_core.ports.system import Clock
from tmws_core.services.agents import Agents
from tmws_core.services.browsing import Browsing
from tmws_core.services.explaining import Explaining
from tmws_core.services.health import Health
from tmws_core.services.memories import Memories
from tmws_core.services.recall import Recall
from tmws_core.wire import outweighs, unstructure

Answer = TypeVar("Answer")

_LIGHT = 16 * 1024
"""Characters of arguments that are checked at once; of the smallest memories 20 ms for 64 KiB (measured)."""

SERVICES = (Memories, Browsing, Recall, Agents, Explaining, Health)
"""The classes whose methods are the operations; they are described without a store being opened."""


class App:
    """All operations of TMWS over one store; safe for any number of tasks."""

    def __init__(
        self,
        services: Iterable[object],
        *,
        identify: Callable[[Caller], Awaitable[Caller]],
        witness: Witness,
        clock: Clock,
        metrics: Metrics,
        request_timeout: timedelta,
    ) -> None:
        self.operations: Mapping[str, Operation] = operations_of(services)
        self._by_request = {operation.request: operation for operation in self.operations.values()}
        self._identify = identify
        self._witness = witness
        self._clock = clock
        self._metrics = metrics
        self._timeout = request_timeout.total_seconds()
        self._is_closed = False

    def close(self) -> None:
        """Refuse all further calls: what they need is closed next."""
        self._is_closed = True

    def now(self) -> datetime:
        """Return the time by which memories expire."""
        return self._clock.now()

    async def call(self, caller: Caller, request: Request[Answer]) -> Answer:
        """Run the operation that the request belongs to and return its answer.

        Raises:
            AppClosed: the block that has opened the application has ended; StorageOutcomeUnknown if it did so during a
                call that changes something.
            AgentInactive: the caller was deactivated.
            Forbidden: the caller lacks the operation's permission.
            RequestTimedOut: it took longer than the request timeout.
            TmwsError: whatever the operation declares in `raises`.
        """
        with on_behalf_of(caller.agent_id):
            return cast("Answer", await self._run(self._by_request[type(request)], caller, request))

    async def call_wire(self, caller: Caller, name: str, arguments: object) -> dict[str, Any]:
        """Run an operation by name on JSON values and return its answer as JSON values.

        Raises:
            UnknownOperation: no operation has this name.
            InvalidField: an argument is missing, unknown, of the wrong type or out of its range.
            TmwsError: see `call`.
        """
        operation = named(name, self.operations)
        build = partial(request_of, {} if arguments is None else arguments, operation.request, self.now())
        with on_behalf_of(caller.agent_id):
            request = await aside(build, long=outweighs(arguments, _LIGHT))
            answer: dict[str, Any] = unstructure(await self._run(operation, caller, request))
        return answer

    async def _run(self, operation: Operation, caller: Caller, request: object) -> object:
        if self._is_closed:
            raise AppClosed
        started = self._clock.monotonic()
        status = "failed"
        try:
            with anyio.fail_after(self._timeout):
                try:
                    caller, answer = await self._attempt(operation, caller, request)
                except StorageInterrupted:
                    if operation.effect is not Effect.READ:
                        raise
                    caller, answer = await self._attempt(operation, caller, request)
            status = "ok"
            if operation.effect is Effect.READ and operation.toolset == "memory":
                self._witness.saw(caller, "memory.read", operation=operation.name, **_extent(answer))
        except TimeoutError:
            status = RequestTimedOut.code
            raise RequestTimedOut(seconds=self._timeout) from None
        except TmwsError as error:
            status = error.code
            if isinstance(error, Forbidden):
                self._witness.saw(caller, "authorization.denied", operation=operation.name, needs=error.needs)
            raise
        else:
            return answer
        finally:
            self._metrics.observe(operation.name, status, self._clock.monotonic() - started)

    async def _attempt(self, operation: Operation, caller: Caller, request: object) -> tuple[Caller, object]:
        try:
            caller = await self._identify(caller)
            check_permission(caller, operation)
            return caller, await operation.run(caller, request)
        except Exception as error:
            answers = isinstance(error, TmwsError) and not isinstance(error, PartUnavailable)
            if answers or not self._is_closed:
                raise
            # What is closed under a call fails in ways of its own.
            raise _closed_meanwhile(operation) from error


def _closed_meanwhile(operation: Operation) -> TmwsError:
    if operation.effect is Effect.READ:
        return AppClosed()
    return StorageOutcomeUnknown(
        part="app",
        reason="was closed during the call: the change may be stored or not",
        hint="Let calls end before the block that opens it; look whether the change is stored",
    )


def check_permission(caller: Caller, operation: Operation) -> None:
    """Raise Forbidden if the caller may not call the operation."""
    if not caller.may(operation.permission):
        raise Forbidden(action=f"call {operation.name}", needs=f"the permission {operation.permission.value}")


def _extent(answer: object) -> dict[str, Detail]:
    """Return what was read: a memory by its id, or how many."""
    match answer:
        case MemoryFound():
            return {"memory_id": answer.memory.memory_id}
        case MemoryPage():
            return {"results": len(answer.memories)}
        case MemoriesFound():
            return {"results": len(answer.results)}
        case _:
            return {}
