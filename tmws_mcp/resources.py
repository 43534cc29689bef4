"""Memories as resources of an MCP server: `memory://{id}`."""

from typing import Any

import attrs
import mcp_types as types
import orjson
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.errors import InvalidField, MemoryNotFound
from tmws_mcp.tools import UNTRUSTED, AppOf, CallerOf, Context

_PREFIX = "memory://"
_MIME = "application/json"

_LISTED = 20
"""Newest memories in `resources/list`: a choice for a person to pick from; an agent searches instead."""

_TITLE, _TITLE_BYTES = 60, 250
"""Characters of a memory's text that a picker shows on one line, and as many bytes as they may have."""

_RESOURCE_NOT_FOUND = -32002
"""The code of MCP 2025-11-25 and before; since 2026-07-28 it is INVALID_PARAMS."""


@attrs.frozen(kw_only=True)
class Resources:
    """The memories that the caller may read."""

    app: AppOf
    caller_of: CallerOf

    async def page(self, context: Context, _: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """Answer `resources/list` with the newest memories."""
        app = await self.app()
        answer = await app.call_wire(
            self.caller_of(context), "list_memories", {"limit": _LISTED, "max_chars": _LISTED * _TITLE_BYTES}
        )
        listed = [_resource(memory) for memory in answer["memories"]]
        return types.ListResourcesResult(resources=listed, _meta={**UNTRUSTED})

    async def templates(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        """Answer `resources/templates/list`."""
        template = types.ResourceTemplate(
            uri_template=f"{_PREFIX}{{id}}", name="memory", description="One memory by its id", mime_type=_MIME
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """Answer `resources/read` with the memory as JSON."""
        uri = str(params.uri)
        if not uri.startswith(_PREFIX):
            raise _unknown(context, uri)
        app = await self.app()
        wanted = {"memory_id": uri.removeprefix(_PREFIX), "max_chars": CONTENT_BYTES}
        try:
            answer = await app.call_wire(self.caller_of(context), "get_memory", wanted)
        except (MemoryNotFound, InvalidField):
            raise _unknown(context, uri) from None
        text = orjson.dumps(answer["memory"]).decode()
        quoted = types.TextResourceContents(uri=uri, mime_type=_MIME, text=text, _meta={**UNTRUSTED})
        return types.ReadResourceResult(contents=[quoted])


def _resource(memory: dict[str, Any]) -> types.Resource:
    title = " ".join(memory["content"][:_TITLE].split())
    return types.Resource(uri=_PREFIX + memory["memory_id"], name=memory["memory_id"], title=title, mime_type=_MIME)


def _unknown(context: Context, uri: str) -> MCPError:
    modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
    code = types.INVALID_PARAMS if modern else _RESOURCE_NOT_FOUND
    return MCPError(code, "Resource not found", {"uri": uri})
