"""MCP over HTTP as a protected resource: each request proves who makes it, and a session belongs to one agent."""

import json
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import httpx
import mcp_types as types
import pytest
from mcp import MCPError

from tests.shells.guarded import (
    Guarded,
    bearer,
    change_agent,
    elsewhere,
    guarded_server,
    issue_key,
    issue_token,
    mcp_client,
    revoke,
)
from tests.shells.serving import PATIENCE
from tmws_adapters.remote import open_remote
from tmws_core.errors import AgentInactive, Forbidden, MemoryNotFound, Unauthenticated
from tmws_core.messages.agents import GetCurrentAgent
from tmws_core.messages.memory import ALL, CreateMemory, GetMemory

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_server(tmp_path_factory.mktemp("guarded") / "home", TMWS_MCP_TOOLSETS="all") as running:
        yield running
        assert "Traceback" not in running.server.stop()


def rpc(method: str, id_: int = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def whoami(id_: int = 1) -> dict[str, Any]:
    return rpc("tools/call", id_, name="get_current_agent", arguments={})


def session(guarded: Guarded, credential: str) -> dict[str, str]:
    """Open a session and return what its requests need besides a credential."""
    client_info = {"name": "test", "version": "1"}
    hello = rpc("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client_info)
    answer = guarded.post("/mcp", JSON | bearer(credential), hello)
    assert answer.status_code == 200, answer.text
    return JSON | {"mcp-session-id": answer.headers["mcp-session-id"]}


def name_in(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    name: str = answer.json()["result"]["structuredContent"]["agent_id"]
    return name


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_real_client_is_who_its_credential_says(guarded: Guarded, mode: str) -> None:
    token = await anyio.to_thread.run_sync(issue_token, guarded.home, "bob")
    for agent_id, credential in (("ada", guarded.keys["ada"]), ("bob", token)):
        async with mcp_client(guarded.server, credential, mode) as client:
            answer = await client.call_tool("get_current_agent", {})
            assert answer.structured_content is not None
            assert answer.structured_content["agent_id"] == agent_id
            assert answer.structured_content["transport"] == "mcp-http"


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_real_clients_of_two_namespaces_do_not_see_each_other(guarded: Guarded, mode: str) -> None:
    text = f"The {mode} harbour pilot keeps a ledger of tides"
    async with (
        mcp_client(guarded.server, guarded.keys["ada"], mode) as ada,
        mcp_client(guarded.server, guarded.keys["bob"], mode) as bob,
    ):
        created = await ada.call_tool("create_memory", {"content": text, "access_level": "team"})
        assert created.structured_content is not None
        memory_id = created.structured_content["memory_id"]
        seen = await bob.call_tool("get_memory", {"memory_id": memory_id})
        assert seen.structured_content is not None
        assert seen.structured_content["error"]["code"] == "not_found"
        whole = {"max_chars": ALL, "details": True}
        for name, arguments in (("search_memories", {"query": text}), ("list_memories", {"limit": 100})):
            assert text not in repr(await bob.call_tool(name, {**arguments, **whole}))
            assert text in repr(await ada.call_tool(name, {**arguments, **whole}))
        assert text[:60] not in repr(await bob.list_resources())
        with pytest.raises(MCPError, match="Resource not found"):
            await bob.read_resource(f"memory://{memory_id}")
        [read] = (await ada.read_resource(f"memory://{memory_id}")).contents
        assert isinstance(read, types.TextResourceContents)
        assert json.loads(read.text)["content"] == text
        other = await ada.call_tool("create_memory", {"content": "x", "agent_id": "bob"})
        assert other.structured_content is not None
        assert other.structured_content["error"]["code"] == "forbidden"


@pytest.mark.anyio
async def test_real_client_with_a_bad_credential_does_not_get_in(guarded: Guarded) -> None:
    with pytest.raises((MCPError, ExceptionGroup)):
        async with mcp_client(guarded.server, "tmws_nonsense"):
            pass


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_session_of_another_agent_is_unknown(guarded: Guarded, method: str) -> None:
    open_ = session(guarded, guarded.keys["ada"])
    unknown = open_ | {"mcp-session-id": "0" * 32}

    def ask(headers: dict[str, str], agent_id: str) -> httpx.Response:
        sent = headers | bearer(guarded.keys[agent_id]) | elsewhere()
        body = whoami() if method == "POST" else None
        return guarded.server.client.request(method, "/mcp", headers=sent, json=body)

    for thief in ("bob", "ann", "root"):
        stolen, missing = ask(open_, thief), ask(unknown, thief)
        assert stolen.status_code == missing.status_code == 404
        assert stolen.json() == missing.json()
    assert name_in(guarded.post("/mcp", open_ | bearer(guarded.keys["ada"]), whoami())) == "ada"


def test_session_without_a_credential_is_refused(guarded: Guarded) -> None:
    open_ = session(guarded, guarded.keys["ada"])
    for method in ("POST", "GET", "DELETE"):
        answer = guarded.server.client.request(method, "/mcp", headers=open_ | elsewhere())
        assert answer.status_code == 401
        assert "/.well-known/oauth-protected-resource/mcp" in answer.headers["www-authenticate"]


def test_session_goes_on_with_another_credential_of_its_agent(guarded: Guarded) -> None:
    open_ = session(guarded, guarded.keys["ada"])
    for credential in (issue_key(guarded.home, "ada"), issue_token(guarded.home, "ada")):
        assert name_in(guarded.post("/mcp", open_ | bearer(credential), whoami())) == "ada"


def test_revoked_key_ends_in_an_open_session_at_once(guarded: Guarded) -> None:
    key = issue_key(guarded.home, "ada")
    open_ = session(guarded, key)
    assert name_in(guarded.post("/mcp", open_ | bearer(key), whoami(1))) == "ada"
    revoke(guarded.home, key)
    assert guarded.post("/mcp", open_ | bearer(key), whoami(2)).status_code == 401
    assert name_in(guarded.post("/mcp", open_ | bearer(guarded.keys["ada"]), whoami(3))) == "ada"


def test_rights_in_an_open_session_are_those_of_now(guarded: Guarded) -> None:
    key = guarded.keys["ann"]
    open_ = session(guarded, key)
    try:
        for number, changes, namespace in ((1, {}, "acme"), (2, {"namespace": "moved"}, "moved")):
            change_agent(guarded.home, "ann", **changes)
            answer = guarded.post("/mcp", open_ | bearer(key), whoami(number))
            assert answer.json()["result"]["structuredContent"]["namespace"] == namespace
        change_agent(guarded.home, "ann", active=False)
        answer = guarded.post("/mcp", open_ | bearer(key), whoami(3))
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "agent_inactive")
    finally:
        change_agent(guarded.home, "ann", namespace="acme", active=True)


def test_plain_requests_without_a_session_prove_it_too(guarded: Guarded) -> None:
    for version in ({}, {"mcp-protocol-version": "2025-06-18"}):
        headers = JSON | version
        assert guarded.post("/mcp", headers, whoami()).status_code == 401
        assert name_in(guarded.post("/mcp", headers | bearer(guarded.keys["bob"]), whoami())) == "bob"


@pytest.mark.anyio
async def test_other_agents_do_not_get_in_the_way_of_a_session(guarded: Guarded) -> None:
    """A thief repeats the id of a request that is running: it is neither told of it, nor takes its place."""
    open_ = await anyio.to_thread.run_sync(session, guarded, guarded.keys["ada"])
    memories = [{"content": f"Interfering {number}"} for number in range(200)]
    call = rpc("tools/call", 7, name="create_memories", arguments={"memories": memories})
    done: list[int] = []
    stolen: list[int] = []
    async with httpx.AsyncClient(base_url=guarded.server.url, timeout=PATIENCE, trust_env=False) as client:

        async def post(agent_id: str, body: dict[str, Any], statuses: list[int]) -> None:
            headers = open_ | bearer(guarded.keys[agent_id]) | elsewhere()
            statuses.append((await client.post("/mcp", json=body, headers=headers)).status_code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post, "ada", call, done)
            while not done:
                await post("bob", whoami(7), stolen)
    assert done == [200]
    assert len(stolen) > 1
    assert set(stolen) == {404}


@pytest.mark.anyio
async def test_remote_client_works_with_a_token_and_raises_what_the_server_says(guarded: Guarded) -> None:
    url = guarded.server.url
    async with open_remote(url=url, token=guarded.keys["ada"]) as app:
        assert (await app.call(GetCurrentAgent())).agent_id == "ada"
        created = await app.call(CreateMemory(content="From afar"))
        with pytest.raises(Forbidden):
            await app.call(CreateMemory(content="In your name", agent_id="bob"))
    async with open_remote(url=url, token=guarded.keys["bob"]) as app:
        with pytest.raises(MemoryNotFound):
            await app.call(GetMemory(memory_id=created.memory_id))
    for token in (None, "nonsense"):
        async with open_remote(url=url, token=token) as app:
            with pytest.raises(Unauthenticated) as caught:
                await app.call(GetCurrentAgent())
            assert caught.value.remedy
    await anyio.to_thread.run_sync(lambda: change_agent(guarded.home, "rita", active=False))
    async with open_remote(url=url, token=guarded.keys["rita"]) as app:
        with pytest.raises(AgentInactive):
            await app.call(GetCurrentAgent())
