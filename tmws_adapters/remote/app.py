"""The application at the other end of a wire, with the same typed calls as one in this process."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol, TypeVar

import attrs

from tmws_adapters.local.asking import Lost
from tmws_adapters.remote.answers import answer_of
from tmws_adapters.remote.failures import PART, OutcomeUnknown, ServiceUnreachable
from tmws_core.app import SERVICES
from tmws_core.lenient import request_of
from tmws_core.operation import Effect, Operation, Request, named, operations_described_by
from tmws_core.wire import unstructure

Answer = TypeVar("Answer")


class Service(Protocol):
    """The other end of a wire; safe for any number of tasks."""

    async def ask(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run an operation there and return its answer, both as JSON values; each call may connect anew.

        Raises:
            Lost: the connection broke after something was sent.
            ServiceUnreachable: nothing could be sent.
            RequestTimedOut: nothing came for as long as a request may take, and a little longer.
            TmwsError: what the other end says.
        """
        ...


@attrs.frozen
class RemoteApp:
    """All operations of a TMWS that runs elsewhere, in the name that the connection has; safe for any number of tasks.

    Requests are checked here, and run there. One that only reads is repeated once, on a new connection, when its
    connection breaks.
    """

    _service: Service

    async def call(self, request: Request[Answer]) -> Answer:
        """Run the operation that the request belongs to and return its answer.

        Raises:
            ServiceUnreachable: nobody is there to run it.
            OutcomeUnknown: the connection broke before the answer came, and it is no operation that only reads.
            TmwsError: see `App.call`.
        """
        operation = _by_request()[type(request)]
        answer: Answer = answer_of(await self._run(operation, unstructure(request)), operation.answer)
        return answer

    async def call_wire(self, name: str, arguments: object) -> dict[str, Any]:
        """Run an operation by name on JSON values and return its answer as JSON values.

        Raises:
            UnknownOperation: no operation of this version has this name.
            InvalidField: an argument is missing, unknown, of the wrong type or out of its range.
            TmwsError: see `call`.
        """
        operation = named(name, operations())
        request = request_of({} if arguments is None else arguments, operation.request)
        return await self._run(operation, unstructure(request))

    async def _run(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._service.ask(operation.name, arguments)
        except Lost:
            if operation.effect is not Effect.READ:
                raise OutcomeUnknown(operation=operation.name) from None
        try:
            return await self._service.ask(operation.name, arguments)
        except Lost:
            reason = "the connection broke twice before the answer came"
            raise ServiceUnreachable(part=PART, reason=reason, hint="See the log of the service") from None


@cache
def operations() -> Mapping[str, Operation]:
    """Return the operations of this version, by name."""
    return operations_described_by(SERVICES)


@cache
def _by_request() -> Mapping[type[Request[Any]], Operation]:
    return {operation.request: operation for operation in operations().values()}
