"""`/health` and the probes of whoever runs the server."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.system import HealthCheck
from tmws_core.wire import unstructure
from tmws_mcp.contained import Json


def probe_routes(app: App, caller: Caller) -> list[Route]:
    """Return the routes; all but `/health/live` ask the parts."""

    async def health(_: Request) -> Response:
        report = await app.call(caller, HealthCheck())
        return Json(unstructure(report), _status(report.status))

    async def ready(_: Request) -> Response:
        report = await app.call(caller, HealthCheck())
        status = _status(report.status)
        return Json({"status": "ready" if status is HTTPStatus.OK else "not_ready"}, status)

    async def live(_: Request) -> Response:
        return Json({"status": "alive"})

    return [Route("/health", health), Route("/health/live", live), Route("/health/ready", ready)]


def _status(health: str) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if health == "unhealthy" else HTTPStatus.OK
