"""The one module that starts the other shell: `tmws serve`, and the start over stdio."""

from tmws_adapters.settings import Settings


async def serve_http(settings: Settings) -> None:
    """Serve MCP and REST over HTTP until the process is asked to stop."""
    # The MCP SDK and the web server take a second to import, which no other command is to wait for.
    from tmws_mcp.http import serve_http as run  # noqa: PLC0415

    await run(settings)


async def serve_stdio(settings: Settings) -> None:
    """Speak MCP over stdin and stdout until the input ends."""
    from tmws_mcp.stdio import serve_stdio as run  # noqa: PLC0415 - see serve_http

    await run(settings)
