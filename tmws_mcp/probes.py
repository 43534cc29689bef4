"""`/health` and the probes of whoever runs the server."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from http import HTTPStatus

import anyio
import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tmws_core.domain.agent import Permission
from tmws_core.errors import TmwsError
from tmws_core.messages.system import HealthReport
from tmws_core.wire import unstructure
from tmws_mcp.contained import Json
from tmws_mcp.limiting import WAITING, caller_of
from tmws_mcp.listening import is_loopback

SHARED_SECONDS = 1.0
"""How long a check of the parts is everybody's, from its begin on: less than any that runs servers asks again after."""


@attrs.define(eq=False)
class _Check:
    began: float
    report: HealthReport | None = None
    problem: TmwsError | None = None
    _ended: anyio.Event = attrs.field(factory=anyio.Event)

    async def make(self, ask: Callable[[], Awaitable[HealthReport]]) -> None:
        try:
            self.report = await ask()
        except TmwsError as problem:
            self.problem = problem
        finally:
            self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()

    @property
    def is_over(self) -> bool:
        """Tell whether nobody makes it any more, and it is too old, or was given up with whoever made it."""
        told = self.report is not None or self.problem is not None
        return self._ended.is_set() and not (told and anyio.current_time() - self.began < SHARED_SECONDS)


@attrs.define(eq=False)
class Checks:
    """Asks the parts once for all who want to know at the same time, and for those who come within SHARED_SECONDS.

    A check that takes longer, since a part does not answer, is everybody's until it ends. It goes on with another who
    waits for it where the one who began it goes away.
    """

    _ask: Callable[[], Awaitable[HealthReport]]
    _last: _Check | None = attrs.field(default=None, init=False)

    async def report(self) -> HealthReport:
        """Return how the service is, or was a moment ago; TmwsError if that cannot be told."""
        while True:
            check = self._last
            if check is None or check.is_over:
                check = self._last = _Check(anyio.current_time())
                await check.make(self._ask)
            else:
                await check.wait()
            if check.problem is not None:
                raise attrs.evolve(check.problem)
            if check.report is not None:
                return check.report


def probe_routes(ask: Callable[[], Awaitable[HealthReport]], *, asks: bool) -> list[Route]:
    """Return the routes; all but `/health/live` `ask` the parts, see `Checks`, and have no place while they wait.

    Where a server `asks` who calls, what it says of each part is for those who may look into the system, and for this
    machine.
    """
    checks = Checks(ask)

    async def reported(request: Request) -> HealthReport:
        with request.scope["state"].get(WAITING, nullcontext)():
            return await checks.report()

    async def health(request: Request) -> Response:
        report = await reported(request)
        answer = unstructure(report)
        if asks and not _may_look(request):
            del answer["components"]
        return Json(answer, _status(report.status))

    async def ready(request: Request) -> Response:
        status = _status((await reported(request)).status)
        return Json({"status": "ready" if status is HTTPStatus.OK else "not_ready"}, status)

    async def live(_: Request) -> Response:
        return Json({"status": "alive"})

    return [Route("/health", health), Route("/health/live", live), Route("/health/ready", ready)]


def _may_look(request: Request) -> bool:
    caller = caller_of(request.scope)
    if caller is not None:
        return caller.may(Permission.SYSTEM_READ)
    return request.client is not None and is_loopback(request.client.host)


def _status(health: str) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if health == "unhealthy" else HTTPStatus.OK
