"""Which TMWS to talk to: a server by its URL, or the owner of a database on this machine."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from tmws_adapters.local.asking import running
from tmws_adapters.local.finding import Link
from tmws_adapters.local.greeting import Refused, Silent
from tmws_adapters.local.patience import GRACE_SECONDS
from tmws_adapters.local.place import Place
from tmws_adapters.local.starting import REACH_GRACE_SECONDS, reach
from tmws_adapters.remote.app import RemoteApp
from tmws_adapters.remote.calls import open_calls
from tmws_adapters.remote.failures import PART, ServiceUnreachable, error_of
from tmws_adapters.settings import REQUEST_SECONDS, Settings, load_settings, name_of
from tmws_core.errors import Kind

_DESTINATIONS = (
    "home",
    "database_url",
    "database_url_read",
    "redis_url",
    "vector_backend",
    "chroma_url",
    "chroma_persist_directory",
    "chroma_collection",
    "embedder",
    "ollama_base_url",
    "ollama_model",
    "onnx_model_dir",
    "audit_log_enabled",
)


@asynccontextmanager
async def open_remote(
    settings: Settings | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    agent_id: str | None = None,
    namespace: str | None = None,
) -> AsyncIterator[RemoteApp]:
    """Open the server at `url`, or the owner of the database that the settings choose, which is started if need be.

    A server decides by the token who calls. The owner lets the operator call, or with `agent_id` that agent, whose
    namespace is the one of the settings unless another is given; it is started with the environment of this process,
    which has to choose the same database.

    Raises:
        ConfigurationError: the settings or the URL are not understood.
        ServiceUnreachable: nobody answers; with a URL, calls raise it.
        TmwsError: the owner cannot open the store; see `open_app`.
    """
    if url is not None:
        from tmws_adapters.remote.http import open_http  # noqa: PLC0415 - httpx takes 0.1 s, and the owner needs none

        # Settings of its own would need a data directory, which who talks to a server has not.
        seconds = REQUEST_SECONDS if settings is None else settings.request_timeout
        limit = timedelta(seconds=seconds + GRACE_SECONDS)
        async with open_http(url, token, limit) as server:
            yield RemoteApp(server)
        return
    settings = settings or load_settings()
    names = {
        **_destinations(settings),
        "TMWS_AGENT_ID": agent_id or settings.agent_id,
        "TMWS_AGENT_NAMESPACE": namespace or settings.agent_namespace,
    }
    wants: dict[str, object] = {"speak": "calls", "settings": names, "complete": True}
    if agent_id is not None:
        wants["agent_id"] = agent_id
    place = Place(str(settings.place))
    seconds = settings.timeout.total_seconds() + REACH_GRACE_SECONDS
    async with open_calls(_saying(lambda: reach(place, wants, seconds=seconds))) as owner:
        yield RemoteApp(owner)


@asynccontextmanager
async def open_running(settings: Settings, variables: Mapping[str, str]) -> AsyncIterator[RemoteApp]:
    """Open the owner of a database if there is one that does as this process would: of its version and its settings.

    For commands: `variables` are the settings that were given, with the prefix TMWS_. The operator calls; nothing is
    started.

    Raises:
        ServiceUnreachable: there is none.
    """
    place, seconds = Place(str(settings.place)), settings.timeout.total_seconds()
    async with open_calls(lambda: _running(place, variables, seconds)) as owner:
        yield RemoteApp(owner)


def _destinations(settings: Settings) -> dict[str, str]:
    """Return the variables that say where texts and vectors go, for an owner that goes by others to refuse."""
    values = {name: getattr(settings, name) for name in _DESTINATIONS}
    return {name_of(name): str(value) for name, value in values.items() if value not in (None, "")}


def _running(place: Place, variables: Mapping[str, str], seconds: float) -> Link:
    link = running(place, variables, seconds)
    if link is not None:
        return link
    raise ServiceUnreachable(part=PART, reason=f"nobody serves {place.database}", hint="Start it with `tmws serve`")


def _saying(connect: Callable[[], Link]) -> Callable[[], Link]:
    """Return a function that raises what the owner says as the error that it is."""

    def connected() -> Link:
        try:
            return connect()
        except Silent as silent:
            raise ServiceUnreachable(part=PART, reason=str(silent)) from None
        except Refused as refused:
            raise error_of(refused.error, Kind.UNAVAILABLE) from None

    return connected
