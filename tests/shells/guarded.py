"""A server that asks who calls: agents of two namespaces, their credentials, and clients that use them."""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import jwt
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests.shells.serving import PATIENCE, HttpServer, environment, http_server
from tests.stacks import rows
from tmws_adapters.authentication import open_credentials
from tmws_adapters.bootstrap import open_parts
from tmws_adapters.settings import Settings, load_settings
from tmws_core.domain.agent import Agent, Role
from tmws_core.services.credentials import Credentials

SECRET = "the secret key of a test, long enough"
GUARDED = {"TMWS_AUTH_ENABLED": "true", "TMWS_SECRET_KEY": SECRET, "TMWS_RATE_LIMIT_ENABLED": "false"}
"""Limits have tests of their own."""

AGENTS = {
    "ada": ("acme", Role.AGENT),
    "ann": ("acme", Role.AGENT),
    "bob": ("globex", Role.AGENT),
    "rita": ("acme", Role.READER),
    "root": ("acme", Role.ADMIN),
}

LEAKS = re.compile(rf"Traceback|\.py|sqlite|{re.escape(SECRET)}|eyJ|tmws_[0-9a-f]", re.IGNORECASE)
"""What no refusal of a credential holds."""

_addresses = count(1)


def settings_of(home: Path, **more: str) -> Settings:
    """Return the settings of a guarded server."""
    given = environment(home, **GUARDED, **more)
    return load_settings({name: value for name, value in given.items() if name.startswith("TMWS_")}, dotenv=None)


@asynccontextmanager
async def credentials(home: Path, **more: str) -> AsyncIterator[Credentials]:
    """Open what issues credentials, beside a server that may run."""
    settings = settings_of(home, **more)
    async with open_parts(settings) as parts:
        async with parts.storage.write() as unit:
            now = parts.clock.now()
            for agent_id, (namespace, role) in AGENTS.items():
                agent = Agent(id=agent_id, namespace=namespace, role=role, created_at=now, updated_at=now)
                await unit.agents.add(agent)
        async with open_credentials(settings, parts) as opened:
            yield opened


def issue_key(home: Path, agent_id: str, lifetime: timedelta | None = None) -> str:
    """Issue an API key."""

    async def issue() -> str:
        async with credentials(home) as opened:
            caller = settings_of(home).operator()
            return (await opened.issue_key(caller, agent_id, lifetime=lifetime)).text

    return anyio.run(issue)


def issue_token(home: Path, agent_id: str) -> str:
    """Issue a token for an hour."""

    async def issue() -> str:
        async with credentials(home) as opened:
            caller = settings_of(home).operator()
            return (await opened.issue_token(caller, agent_id, lifetime=timedelta(hours=1))).text

    return anyio.run(issue)


def revoke(home: Path, what: str, **more: str) -> None:
    """Revoke a credential, as another process does."""

    async def work() -> None:
        async with credentials(home, **more) as opened:
            await opened.revoke(settings_of(home).operator(), what)

    anyio.run(work)


def change_agent(home: Path, agent_id: str, **changes: Any) -> None:
    """Change a registered agent, as another process does."""

    async def work() -> None:
        async with open_parts(settings_of(home)) as parts, parts.storage.write() as unit:
            agent = await unit.agents.find(agent_id)
            assert agent is not None
            await unit.agents.replace(attrs.evolve(agent, **changes))

    anyio.run(work)


def signed(algorithm: str | None = "HS256", key: Any = SECRET, **changes: Any) -> str:
    """Sign a token of ada's that is good for a day; a claim that is None is left out."""
    now = int(time.time())  # noqa: TID251 - what an issuer does
    good = {"iss": "tmws", "aud": "tmws", "sub": "ada", "iat": now, "nbf": now, "exp": now + 86_400, "jti": "t1"}
    claims = {name: value for name, value in (good | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm)


def bearer(credential: str) -> dict[str, str]:
    """Return the header with a credential."""
    return {"authorization": f"Bearer {credential}"}


def elsewhere() -> dict[str, str]:
    """Return the header by which a trusted proxy names an address that nobody has used yet."""
    number = next(_addresses)
    return {"x-forwarded-for": f"198.51.{number // 256}.{number % 256}"}


@attrs.frozen
class Guarded:
    """A guarded server, and the API keys of its agents."""

    home: Path
    server: HttpServer
    keys: dict[str, str]

    def call(self, agent_id: str, name: str, /, **arguments: object) -> httpx.Response:
        """Call an operation over REST with an agent's key."""
        return self.post(f"/mcp/tools/{name}", bearer(self.keys[agent_id]), arguments)

    def post(self, path: str, headers: dict[str, str], body: object = None) -> httpx.Response:
        """Send a request from an address of its own."""
        return self.server.client.post(path, headers=elsewhere() | headers, json={} if body is None else body)

    def try_(self, credential: str, address: dict[str, str] | None = None) -> httpx.Response:
        """Ask who one is."""
        headers = (elsewhere() if address is None else address) | bearer(credential)
        return self.server.client.post("/mcp/tools/get_current_agent", headers=headers, json={})

    def audited(self, event_type: str) -> list[dict[str, Any]]:
        """Return the details of the audit log's rows of a type, each with its agent."""
        sql = "SELECT details, agent_id FROM security_audit_logs WHERE event_type = ? ORDER BY id"
        found = rows(settings_of(self.home), sql, event_type)
        return [json.loads(details) | {"by": by} for details, by in found]


@contextmanager
def guarded_server(home: Path, **more: str) -> Iterator[Guarded]:
    """Run a guarded server whose agents each have a key."""
    keys = {agent_id: issue_key(home, agent_id) for agent_id in AGENTS}
    with http_server(home, **GUARDED, **more) as running:
        yield Guarded(home, running, keys)


@asynccontextmanager
async def mcp_client(server: HttpServer, credential: str, mode: str = "legacy") -> AsyncIterator[Client]:
    """Connect the official client with a credential."""
    async with create_mcp_http_client(headers=bearer(credential)) as http:
        wire = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(wire, mode=mode, read_timeout_seconds=PATIENCE) as connected:
            yield connected


def refused(answer: httpx.Response, reason: str | None = None) -> None:
    """Check a 401, in the body and in its header."""
    assert answer.status_code == 401, answer.text
    error = answer.json()["error"]
    assert error["code"] == "unauthenticated"
    assert not LEAKS.search(answer.text), answer.text
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert 'resource_metadata="http' in challenge
    if reason is None:
        assert "error=" not in challenge
    else:
        assert error["message"].startswith(f"{reason}. ")
        assert f'error="invalid_token", error_description="{reason}"' in challenge
