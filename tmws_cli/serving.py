"""The one module that starts the other shell: `tmws serve`, and the start over stdio."""

TYPE_CHECKING = False  # typing takes 8 ms of every agent terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tmws_adapters.local.place import Place
    from tmws_adapters.settings import Settings


async def serve_http(settings: "Settings") -> None:
    """Serve MCP and REST over HTTP until the process is asked to stop."""
    # The MCP SDK and the web server take a second to import, which no other command is to wait for.
    from tmws_mcp.http import serve_http as run  # noqa: PLC0415

    await run(settings)


def refuse_stdio(error: "Mapping[str, object]") -> None:
    """Answer whoever asks first over stdin that there is no service, and why; return then, or when nobody asks."""
    from tmws_mcp.shim import refuse_stdio as run  # noqa: PLC0415 - see below

    run(error)


def serve_stdio(place: "Place") -> None:
    """Speak MCP over stdin and stdout until the input ends."""
    from tmws_mcp.shim import serve_stdio as run  # noqa: PLC0415 - the other commands do not need it

    run(place)
