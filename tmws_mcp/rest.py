"""REST: one operation a request, JSON in, JSON out."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_mcp.answers import written
from tmws_mcp.bodies import parse_object, read_body
from tmws_mcp.contained import Json
from tmws_mcp.openapi import openapi


def rest_routes(app: App, caller_of: Callable[[Request], Caller], timeout: float) -> list[Route]:
    """Return the routes of the operations, and of their description; `timeout` is in seconds."""
    description = openapi(app.operations.values())

    async def call(request: Request) -> Response:
        arguments = await parse_object(await read_body(request, timeout))
        answer = await app.call_wire(caller_of(request), request.path_params["name"], arguments)
        return Response(await written(answer), media_type=Json.media_type)

    async def describe(_: Request) -> Response:
        return Json(description)

    return [Route("/mcp/tools/{name}", call, methods=["POST"]), Route("/openapi.json", describe)]
