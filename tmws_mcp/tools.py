"""The operations as tools of an MCP server."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.narrowing import none_for
from tmws_core.errors import TmwsError
from tmws_core.lenient import understood
from tmws_core.operation import Effect, Operation, named
from tmws_mcp.bulk import bulk_of
from tmws_mcp.failure import error_body, new_request_id, unexpected
from tmws_mcp.readable import readable_error
from tmws_mcp.schema import input_schema, output_schema

Context = ServerRequestContext[Any, Any]
AppOf = Callable[[], Awaitable[App]]
"""Returns the application, once it is open."""

CallerOf = Callable[[Context], Caller]
"""Tells in whose name a request comes; the transport decides it."""

_HINTS: Mapping[Effect, types.ToolAnnotations] = {
    Effect.READ: types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    Effect.WRITE: types.ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
    ),
    Effect.UPDATE: types.ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
    ),
    Effect.DELETE: types.ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    ),
}
"""An update is no idempotent call: repeated, it makes another version."""


UNTRUSTED: Mapping[str, Any] = {"tmws/untrusted": True}
"""The `_meta` of answers that quote what somebody stored; a model does not read it, so it costs no tokens."""


def is_visible(toolset: str, toolsets: tuple[str, ...]) -> bool:
    """Tell whether MCP clients see a toolset."""
    return toolset in toolsets or "all" in toolsets


@attrs.frozen(kw_only=True)
class Tools:
    """The tools of the visible toolsets; the others do not exist for MCP clients."""

    app: AppOf
    toolsets: tuple[str, ...]
    caller_of: CallerOf

    async def page(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """Answer `tools/list`, on one page."""
        visible = self._visible(await self.app())
        return types.ListToolsResult(tools=[_tool(operation) for operation in visible.values()])

    async def call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Answer `tools/call`: the operation's answer, or its error as a result that says so."""
        try:
            app = await self.app()
            operation = named(params.name, self._visible(app))
            bulk = bulk_of(context.request)
            arguments = params.arguments if bulk.arguments is None else bulk.arguments
            answer = await app.call_wire(self.caller_of(context), operation.name, arguments)
            return _result(*await bulk.carry(answer, _none(answer, operation, arguments)), quotes=operation.quotes)
        except TmwsError as error:
            return _refusal(error_body(error))
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of the inside goes out
            request_id = new_request_id()
            refusal = unexpected(error, f"tools/call {params.name[:100]!r}", request_id)
            return _refusal(error_body(refusal, request_id))

    def _visible(self, app: App) -> dict[str, Operation]:
        return {
            name: operation
            for name, operation in app.operations.items()
            if is_visible(operation.toolset, self.toolsets)
        }


async def contain(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Turn whatever a handler raises into a JSON-RPC error; a server's middleware."""
    try:
        return await call_next(ctx)
    except (MCPError, ValidationError):
        raise
    except TmwsError as error:
        raise MCPError(types.INTERNAL_ERROR, error.message, error_body(error)["error"]) from None
    except Exception as error:  # noqa: BLE001 - the last line of defence, as above
        request_id = new_request_id()
        refusal = unexpected(error, ctx.method, request_id)
        raise MCPError(types.INTERNAL_ERROR, refusal.message, error_body(refusal, request_id)["error"]) from None


def _tool(operation: Operation) -> types.Tool:
    return types.Tool(
        name=operation.name,
        title=operation.name.replace("_", " ").capitalize(),
        description=operation.description,
        input_schema=input_schema(operation),
        output_schema=output_schema(operation),
        annotations=_HINTS[operation.effect],
    )


def _none(answer: Mapping[str, Any], operation: Operation, arguments: object) -> str | None:
    """Return what is said where nothing was found, whatever names the client gave its filters."""
    empty = answer.get("results", answer.get("memories")) == []
    return none_for(understood(arguments, operation.request)) if empty else None


def _result(text: str, answer: dict[str, Any], *, quotes: bool) -> types.CallToolResult:
    meta = {**UNTRUSTED} if quotes else None
    content = types.TextContent(type="text", text=text)
    return types.CallToolResult(content=[content], structured_content=answer, _meta=meta)


def _refusal(error: dict[str, Any]) -> types.CallToolResult:
    content = types.TextContent(type="text", text=readable_error(error))
    return types.CallToolResult(content=[content], structured_content=error, is_error=True)
