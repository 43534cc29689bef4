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
from tmws_mcp.room import most_of
from tmws_mcp.sharing import claim_of

_DESCRIPTION = 2
"""How many memories' worth the description is."""


def rest_routes(app: App, caller_of: Callable[[Request], Caller], timeout: float) -> list[Route]:
    """Return the routes of the operations, and of their description; `timeout` is in seconds."""
    description = openapi(app.operations.values())

    async def call(request: Request) -> Response:
        arguments = await parse_object(await read_body(request, timeout))
        name = request.path_params["name"]
        await claim_of(request).answer(most_of(app.operations.get(name), arguments))
        answer = await app.call_wire(caller_of(request), name, arguments)
        return Response(await written(answer), media_type=Json.media_type)

    async def describe(request: Request) -> Response:
        await claim_of(request).answer(_DESCRIPTION)
        return Json(description)

    return [Route("/mcp/tools/{name}", call, methods=["POST"]), Route("/openapi.json", describe)]
