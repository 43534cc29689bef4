"""What it costs a call that somebody has to be let in first.

    python -m tests.benchmarks.access [CALLS]

Everything is in process, without HTTP: an ASGI application that does nothing is called bare, and behind each layer, in
turn, so that whatever else the machine does meets all of them. `adds` is the difference of the medians; times are
milliseconds. The store is a real file; the audit log is on.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.licences import UNLIMITED
from tmws_adapters.authentication import open_authentication, open_credentials
from tmws_adapters.bootstrap import open_parts
from tmws_adapters.inprocess import InprocessLimiter
from tmws_adapters.inprocess.limiter import KEYS
from tmws_adapters.settings import load_settings
from tmws_adapters.system import SystemClock
from tmws_core.domain.agent import Agent, operator
from tmws_core.ports.limits import Rate
from tmws_mcp.auth import Authenticated
from tmws_mcp.limiting import AddressLimits, AgentLimits, Places, Rates, Streams
from tmws_mcp.lockout import Lockout

CALLS = 3000
LIMIT = 0.2
"""Milliseconds that authorisation may add to a call."""

RATE_LIMIT = 0.1
"""Milliseconds that the limits may add to a call."""

Call = Callable[[], Awaitable[None]]


@attrs.frozen
class Layer:
    """One way to call: what it is compared with, and how much it may add."""

    name: str
    call: Call
    limit: float


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: the application behind the layers."""


async def unread() -> Any:
    raise AssertionError


async def unsent(_: Any) -> None:
    raise AssertionError


def calling(app: ASGIApp, *headers: tuple[bytes, bytes]) -> Call:
    """Return what calls an application as uvicorn does, each time with a request of its own."""

    async def call() -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp/tools/search_memories",
            "scheme": "http",
            "client": ("192.0.2.1", 50_000),
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers],
            "state": {},
        }
        await app(scope, unread, unsent)

    return call


@asynccontextmanager
async def authenticated(home: Path) -> AsyncIterator[list[Layer]]:
    """Open what checks an API key and a token."""
    settings = load_settings({"TMWS_HOME": str(home), "TMWS_AUTH_ENABLED": "true", **UNLIMITED}, dotenv=None)
    async with (
        open_parts(settings) as parts,
        open_authentication(settings, parts) as authentication,
        open_credentials(settings, parts) as credentials,
    ):
        assert authentication is not None
        caller, now = settings.operator(), parts.clock.now()
        async with parts.storage.write() as unit:
            await unit.agents.add(Agent(id="ada", namespace="acme", created_at=now, updated_at=now))
        key = await credentials.issue_key(caller, "ada")
        token = await credentials.issue_token(caller, "ada", lifetime=timedelta(hours=1))
        app = Authenticated(nothing, authentication, Lockout(parts.clock))

        def layer(name: str, credential: str) -> Layer:
            return Layer(name, calling(app, (b"authorization", f"Bearer {credential}".encode())), LIMIT)

        yield [layer("api_key", key.text), layer("token", token.text)]


async def limited() -> list[Layer]:
    """Return the limits for an address and for an agent, with as many others in mind as fit."""
    limiter, many = InprocessLimiter(SystemClock()), Rate(requests=999_999_999, seconds=60)
    for number in range(KEYS):
        await limiter.take(f"agent:other-{number}", Rate(requests=1, seconds=86_400))
    rates = Rates(limiter=limiter, agent=many, address=many)
    inner = AgentLimits(Streams(nothing, limit=256), rates)

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["caller"] = operator("ada", "acme", "rest")
        await inner(scope, receive, send)

    def layer(name: str, app: ASGIApp, *headers: tuple[bytes, bytes]) -> Layer:
        stack = Places(AddressLimits(app, rates, authenticates=True), limit=256)
        return Layer(name, calling(stack, *headers), RATE_LIMIT)

    return [layer("address_limits", inner), layer("agent_limits", known, (b"authorization", b"Bearer x"))]


async def measure(calls: int, home: Path) -> dict[str, Any]:
    async with authenticated(home) as authenticating:
        layers = [*authenticating, *await limited()]
        bare = calling(nothing)
        times: dict[str, list[float]] = {name: [] for name in ("bare", *(layer.name for layer in layers))}
        for _ in range(calls):
            times["bare"].append(await timed(bare))
            for layer in layers:
                times[layer.name].append(await timed(layer.call))
    medians = {name: statistics.median(row) for name, row in times.items()}
    return {layer.name: figures(medians[layer.name] - medians["bare"], layer.limit) for layer in layers}


def figures(adds: float, limit: float) -> dict[str, Any]:
    return {"adds": round(adds, 4), "limit": limit, "within": adds <= limit}


async def timed(call: Call) -> float:
    started = time.perf_counter()
    await call()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    calls = int(sys.argv[1]) if sys.argv[1:] else CALLS
    with tempfile.TemporaryDirectory() as home:
        print(json.dumps(anyio.run(measure, calls, Path(home)), indent=2))


if __name__ == "__main__":
    main()
