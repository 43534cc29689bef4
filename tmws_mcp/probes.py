"""`/health` and the probes of whoever runs the server."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tmws_core.app import App
from tmws_core.domain.agent import Caller, Permission
from tmws_core.messages.system import HealthCheck
from tmws_core.wire import unstructure
from tmws_mcp.contained import Json
from tmws_mcp.limiting import caller_of
from tmws_mcp.listening import is_loopback


def probe_routes(app: App, operator: Caller, *, asks: bool) -> list[Route]:
    """Return the routes; all but `/health/live` ask the parts.

    Where a server `asks` who calls, what it says of each part is for those who may look into the system, and for this
    machine.
    """

    async def health(request: Request) -> Response:
        report = await app.call(operator, HealthCheck())
        answer = unstructure(report)
        if asks and not _may_look(request):
            del answer["components"]
        return Json(answer, _status(report.status))

    async def ready(_: Request) -> Response:
        report = await app.call(operator, HealthCheck())
        status = _status(report.status)
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
