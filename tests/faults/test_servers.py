"""Two servers on one PostgreSQL and one Redis, behind nginx as it is shipped: one dies under load."""

import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest

from tests.faults.journal import Journal
from tests.servers.nginx import Nginx, nginx_before
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisProcess
from tests.shells.guarded import AGENTS, GUARDED, bearer
from tests.shells.serving import PATIENCE, HttpServer, environment, http_server
from tests.shells.test_http_server import JSON, rpc
from tmws_adapters.authentication import open_credentials
from tmws_adapters.bootstrap import open_parts
from tmws_adapters.settings import load_settings
from tmws_core.domain.agent import Agent, Caller
from tmws_core.messages.memory import ALL
from tmws_core.services.credentials import Credentials

pytestmark = pytest.mark.anyio

CLIENTS = 50
WRITES = 4
"""What each client writes, one after the other."""

NOTICE_SECONDS = 0.1
"""How long nginx may take to read that a server has hung up."""


@attrs.frozen
class Pair:
    """Two servers, and the settings that they share."""

    home: Path
    servers: tuple[HttpServer, HttpServer]
    shared: dict[str, str]

    @asynccontextmanager
    async def credentials(self) -> AsyncIterator[tuple[Credentials, Caller]]:
        """Open what issues and revokes credentials, beside the servers, and in whose name."""
        given = environment(self.home, **self.shared)
        settings = load_settings({name: given[name] for name in given if name.startswith("TMWS_")}, dotenv=None)
        async with open_parts(settings) as parts, open_credentials(settings, parts) as opened:
            async with parts.storage.write() as unit:
                now = parts.clock.now()
                for agent_id, (namespace, role) in AGENTS.items():
                    agent = Agent(id=agent_id, namespace=namespace, role=role, created_at=now, updated_at=now)
                    await unit.agents.add(agent)
            yield opened, settings.operator()

    async def keys(self, *agents: str) -> list[str]:
        """Issue an API key to each of the agents."""
        async with self.credentials() as (opened, caller):
            return [(await opened.issue_key(caller, agent, lifetime=None)).text for agent in agents]

    def call(self, number: int, key: str, name: str, **arguments: object) -> tuple[int, dict[str, Any]]:
        """Call an operation at one of the servers."""
        client = self.servers[number].client
        answer = client.post(f"/mcp/tools/{name}", headers=bearer(key), json=arguments)
        return answer.status_code, answer.json()


@pytest.fixture
def pair(
    home: Path, postgres: PostgresServer, redis_server: RedisProcess, embedding: dict[str, str]
) -> Iterator[Callable[..., Pair]]:
    """Return what starts two servers; what they share is theirs alone."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres.database("template0"))
        redis_server.send("FLUSHALL")

        def start(**more: str) -> Pair:
            shared = {"TMWS_DATABASE_URL": url, "TMWS_REDIS_URL": redis_server.url, "TMWS_MAX_WORKERS": "1"}
            shared |= embedding | more
            one, two = (stack.enter_context(http_server(home, **shared)) for _ in range(2))
            return Pair(home, (one, two), shared)

        yield start


@contextmanager
def balanced(pair: Pair) -> Iterator[Nginx]:
    with nginx_before(*(server.url.removeprefix("http://") for server in pair.servers)) as nginx:
        yield nginx


@attrs.define
class Load:
    """Clients of MCP that write, what was acknowledged to them, and when the calls began that failed."""

    client: httpx.AsyncClient
    journal: Journal = attrs.Factory(Journal)
    failed: list[float] = attrs.Factory(list)
    enough: anyio.Event = attrs.Factory(anyio.Event)
    ids: Iterator[int] = attrs.Factory(count)

    async def session(self) -> str:
        hello = rpc(
            "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "l", "version": "1"}
        )
        return str((await self.client.post("/mcp", json=hello, headers=JSON)).headers["mcp-session-id"])

    async def write(self, session: str, writer: str, writes: int) -> None:
        for number in range(writes):
            content = f"note {writer} {number}"
            began = time.monotonic()
            try:
                stored = await self.stored(session, content)
                while not stored["success"]:  # on a slow machine writers wait longer for one another than they may
                    assert stored["error"]["code"] == "storage_busy", stored
                    stored = await self.stored(session, content)
            except httpx.HTTPError:
                self.failed.append(began)
                continue
            self.journal.acknowledge(stored["memory_id"], content)
            if len(self.journal.entries) > CLIENTS * WRITES // 3:
                self.enough.set()

    async def stored(self, session: str, content: str) -> dict[str, Any]:
        call = rpc("tools/call", next(self.ids), name="create_memory", arguments={"content": content})
        answer = await self.client.post("/mcp", json=call, headers=JSON | {"mcp-session-id": session})
        answer.raise_for_status()
        stored: dict[str, Any] = answer.json()["result"]["structuredContent"]
        return stored

    async def write_all(self, sessions: list[str], run: str, writes: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number, session in enumerate(sessions):
                tasks.start_soon(self.write, session, f"{run}{number}", writes)


async def test_server_that_dies_under_load_loses_nothing_and_sessions_go_on(pair: Callable[..., Pair]) -> None:
    two = pair(TMWS_SECRET_KEY=GUARDED["TMWS_SECRET_KEY"])
    with balanced(two) as nginx:
        trust = ssl.create_default_context(cafile=str(nginx.authority))
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        async with httpx.AsyncClient(
            base_url=nginx.url, verify=trust, timeout=PATIENCE, trust_env=False, limits=limits
        ) as client:
            load = Load(client)
            sessions = [await load.session() for _ in range(CLIENTS)]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(load.write_all, sessions, "a", WRITES)
                await load.enough.wait()
                two.servers[0].process.kill()
                two.servers[0].process.wait(PATIENCE)
                dead = time.monotonic()
            failed = len(load.failed)
            await load.write_all(sessions, "b", 1)
    assert len(load.failed) == failed <= CLIENTS
    assert max(load.failed, default=0) <= dead + NOTICE_SECONDS
    assert load.journal.entries.items() <= everything(two.servers[1]).items()
    assert len(load.journal.entries) == CLIENTS * (WRITES + 1) - failed


def everything(server: HttpServer) -> dict[str, str]:
    """Return the contents of all memories, by id."""
    stored: dict[str, str] = {}
    cursor: str | None = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = server.call("list_memories", limit=100, max_chars=ALL, **more).json()
        stored |= {memory["memory_id"]: memory["content"] for memory in page["memories"]}
        cursor = page.get("next_cursor")
        if cursor is None:
            return stored


async def test_limits_count_for_both_servers_together(pair: Callable[..., Pair]) -> None:
    limits = {"TMWS_RATE_LIMIT_ENABLED": "true", "TMWS_RATE_LIMIT_REQUESTS": "10", "TMWS_RATE_LIMIT_PERIOD": "3600"}
    two = pair(**(GUARDED | limits))
    [key] = await two.keys("ada")

    statuses = [two.call(number % 2, key, "get_current_agent")[0] for number in range(14)]

    assert statuses == [200] * 10 + [429] * 4


async def test_change_through_one_server_is_seen_through_the_other_at_once(pair: Callable[..., Pair]) -> None:
    two = pair(**GUARDED)
    ada, bob = await two.keys("ada", "bob")
    memory_id = two.call(0, ada, "create_memory", content="The rose blooms in June.")[1]["memory_id"]

    def seen(key: str) -> list[str]:
        """Return what the other server finds."""
        found = two.call(1, key, "search_memories", query="rose")[1]["results"]
        return [hit["content"] for hit in found]

    assert seen(ada) == ["The rose blooms in June."]
    assert (two.call(1, bob, "get_memory", memory_id=memory_id)[0], seen(bob)) == (404, [])
    for number in range(5):
        two.call(0, ada, "share_memory", memory_id=memory_id, shared_with=["bob"])
        assert (two.call(1, bob, "get_memory", memory_id=memory_id)[0], len(seen(bob))) == (200, 1)
        two.call(0, ada, "update_memory", memory_id=memory_id, content=f"The rose blooms in week {number}.")
        assert seen(ada) == seen(bob) == [f"The rose blooms in week {number}."]
        two.call(0, ada, "share_memory", memory_id=memory_id, shared_with=["bob"], revoke=True)
        assert (two.call(1, bob, "get_memory", memory_id=memory_id)[0], seen(bob)) == (404, [])
    two.call(0, ada, "delete_memory", memory_id=memory_id)
    assert seen(ada) == []


async def test_credential_that_is_revoked_is_good_at_neither_server(pair: Callable[..., Pair]) -> None:
    two = pair(**GUARDED)
    ada, bob, root = await two.keys("ada", "bob", "root")
    for key in (ada, bob):
        assert [two.call(number, key, "get_current_agent")[0] for number in (0, 1)] == [200, 200]

    async with two.credentials() as (opened, caller):
        await opened.revoke(caller, ada)
    assert two.call(0, root, "deactivate_agent", agent_id="bob")[0] == 200

    assert [two.call(number, ada, "get_current_agent")[0] for number in (0, 1)] == [401, 401]
    assert [two.call(number, bob, "get_current_agent")[0] for number in (0, 1)] == [403, 403]
