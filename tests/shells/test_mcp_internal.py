"""An error that nobody foresaw: it is logged under a name that the caller learns, and nothing else goes out."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import mcp_types as types
import pytest
from mcp import Client, MCPError

from tmws_adapters.bootstrap import rate_limiter
from tmws_adapters.inprocess import InprocessMetrics, LruCache
from tmws_adapters.settings import Settings
from tmws_adapters.system import SystemClock
from tmws_core.app import App
from tmws_core.domain.agent import Caller, Permission
from tmws_core.domain.audit import Detail
from tmws_core.messages.memory import GetMemory, ListMemories, MemoryFound, MemoryPage
from tmws_core.operation import Effect, operation
from tmws_mcp.application import application
from tmws_mcp.endpoint import open_endpoint
from tmws_mcp.server import mcp_server
from tmws_mcp.sessions import Sessions

pytestmark = pytest.mark.anyio

SECRET = "password=hunter2"


class Unseeing:
    """A witness whom nothing interests."""

    def saw(self, caller: Caller, event_type: str, **details: Detail) -> None:
        pass


class Broken:
    """A service with a mistake in it."""

    @operation("get_memory", toolset="memory", permission=Permission.MEMORY_READ, effect=Effect.READ)
    async def get(self, caller: Caller, request: GetMemory) -> MemoryFound:
        """Fail."""
        raise ZeroDivisionError(SECRET, caller, request)

    @operation("list_memories", toolset="memory", permission=Permission.MEMORY_READ, effect=Effect.READ)
    async def page(self, caller: Caller, request: ListMemories) -> MemoryPage:
        """Fail."""
        raise ZeroDivisionError(SECRET, caller, request)


@pytest.fixture
def app() -> App:
    async def identify(caller: Caller) -> Caller:
        return caller

    return App(
        [Broken()],
        identify=identify,
        witness=Unseeing(),
        clock=SystemClock(),
        metrics=InprocessMetrics(),
        request_timeout=timedelta(seconds=5),
    )


@pytest.fixture
def opened(app: App) -> Callable[[], Awaitable[App]]:
    async def get() -> App:
        return app

    return get


@pytest.fixture(params=["legacy", "auto"])
async def client(opened: Callable[[], Awaitable[App]], request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    caller = Settings().agent("test")
    server = mcp_server(opened, toolsets=("memory",), caller_of=lambda _: caller)
    async with Client(server, mode=request.param) as connected:
        yield connected


def check(error: dict[str, Any], shown: str, log: str) -> None:
    assert error["code"] == "internal"
    assert error["request_id"] in log
    assert SECRET in log
    assert SECRET not in shown
    assert "ZeroDivisionError" not in shown


async def test_mcp_tool_tells_nothing_of_the_inside(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        result = await client.call_tool("get_memory", {"memory_id": "00000000-0000-7000-8000-000000000000"})
    assert result.is_error
    assert result.structured_content is not None
    check(result.structured_content["error"], repr(result), caplog.text)


async def test_mcp_resource_tells_nothing_of_the_inside(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(MCPError) as caught:
        await client.list_resources()
    assert caught.value.code == types.INTERNAL_ERROR
    check(caught.value.data, repr(caught.value.error), caplog.text)


async def test_rest_tells_nothing_of_the_inside(
    app: App, opened: Callable[[], Awaitable[App]], caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings()
    server = mcp_server(opened, toolsets=("memory",), caller_of=lambda _: settings.agent())
    sessions = Sessions(lambda: [b"key"], LruCache(1))
    async with open_endpoint(app, server, sessions, 5) as endpoint:
        transport = httpx.ASGITransport(application(app, settings, endpoint, rate_limiter()))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            with caplog.at_level(logging.ERROR):
                answer = await client.post("/mcp/tools/list_memories", json={})
    assert answer.status_code == 500
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
    check(answer.json()["error"], answer.text, caplog.text)
