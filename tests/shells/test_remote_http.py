"""The Python client of a server over HTTP."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.shells.serving import PATIENCE, HttpServer
from tests.shells.test_rest import UNKNOWN_ID, agent
from tmws_adapters.remote import OutcomeUnknown, RemoteApp, RemoteFailure, ServiceUnreachable, open_remote
from tmws_adapters.remote.app import operations
from tmws_adapters.settings import Settings
from tmws_core.app import SERVICES
from tmws_core.domain.agent import Role
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import (
    ConfigurationError,
    ContentTooLarge,
    InvalidField,
    Kind,
    MemoryNotFound,
    PartUnavailable,
    RequestTimedOut,
    RequestTooLarge,
    TmwsError,
    UnknownOperation,
    VersionConflict,
)
from tmws_core.messages.agents import ExplainAccess, GetAgent, GetCurrentAgent, ListAgents, UpdateAgent
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    GetMemory,
    GetMemoryStats,
    ListMemories,
    MemoryFound,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories
from tmws_core.messages.system import GetSystemStats, HealthCheck
from tmws_core.operation import operations_described_by

pytestmark = pytest.mark.anyio


@attrs.define
class Double:
    """Something that listens where a server should, and answers each request with the same bytes before it hangs up.

    With None it keeps silent.
    """

    answer: bytes | None
    url: str = ""
    requests: list[bytes] = attrs.field(factory=list)

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            received = b""
            while b"\r\n\r\n{" not in received or not received.endswith(b"}"):
                received += await stream.receive()
            self.requests.append(received)
            if self.answer is None:
                await anyio.sleep_forever()
            else:
                await stream.send(self.answer)


@asynccontextmanager
async def double(answer: bytes | None) -> AsyncIterator[Double]:
    serving = Double(answer)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        serving.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, serving.serve)
        yield serving
        tasks.cancel_scope.cancel()


def response(status: str, body: str, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close"
    return f"{head}\r\n\r\n{body}".encode()


def test_client_knows_the_operations_that_the_services_have() -> None:
    assert operations().keys() == operations_described_by(SERVICES).keys()


async def test_every_operation_answers_with_the_objects_of_the_library(server: HttpServer) -> None:
    name = agent()
    answers: list[object] = []
    async with open_remote(url=server.url) as app:
        stored = await app.call(CreateMemory(content="The ferry leaves at nine.", agent_id=name, metadata={"n": None}))
        batch = await app.call(CreateMemories(memories=(CreateMemory(content="Bring tea.", agent_id=name),)))
        update = UpdateMemory(memory_id=stored.memory_id, content="The ferry leaves at ten.")
        share = ShareMemory(memory_id=stored.memory_id, shared_with=(agent(),))
        answers += [stored, batch, await app.call(update), await app.call(share)]
        found = await app.call(GetMemory(memory_id=stored.memory_id, include_history=True))
        searched = await app.call(SearchMemories(query="when does the ferry leave?", agent_id=name, explain=True))
        listed = await app.call(ListMemories(agent_id=name))
        answers += [found, searched, listed, await app.call(GetMemoryStats(agent_id=name))]
        answers += [await app.call(HealthCheck()), await app.call(GetSystemStats())]
        answers.append(await app.call(DeleteMemory(memory_id=batch.results[0].memory_id)))
        answers += [await app.call(UpdateAgent(agent_id=name, role=Role.READER)), await app.call(GetCurrentAgent())]
        answers += [await app.call(GetAgent(agent_id=name)), await app.call(ListAgents(limit=1))]
        answers.append(await app.call(ExplainAccess(memory_id=stored.memory_id, agent_id=name)))
    assert {type(answer) for answer in answers} == {operation.answer for operation in operations().values()}
    assert found.memory.access_level is AccessLevel.SHARED
    assert (found.memory.metadata, found.memory.session_id) == ({"n": None}, None)
    assert found.history is not None
    assert [former.content for former in found.history] == ["The ferry leaves at nine."]
    assert searched.results[0].memory_id == stored.memory_id
    assert searched.results[0].explanation is not None
    assert len(listed.memories) == 2


async def test_calls_by_name_take_and_return_json_values(server: HttpServer) -> None:
    async with open_remote(url=server.url) as app:
        stored = await app.call_wire("create_memory", {"content": "By name.", "agent_id": agent()})
        found = await app.call_wire("get_memory", {"memory_id": stored["memory_id"]})
        assert found["memory"]["content"] == "By name."
        assert (await app.call_wire("health_check", None))["status"] == "healthy"


async def test_any_number_of_calls_run_at_once(server: HttpServer) -> None:
    name, found = agent(), {}

    async with open_remote(url=server.url) as app:

        async def store_and_read(text: str) -> None:
            stored = await app.call(CreateMemory(content=text, agent_id=name))
            found[text] = (await app.call(GetMemory(memory_id=stored.memory_id))).memory.content

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(store_and_read, f"text {number}")
    assert found == {f"text {number}": f"text {number}" for number in range(40)}


async def test_errors_of_the_server_have_their_facts(server: HttpServer) -> None:
    async with open_remote(url=server.url) as app:
        with pytest.raises(MemoryNotFound) as missing:
            await app.call(GetMemory(memory_id=UNKNOWN_ID))
        assert missing.value.memory_id == UNKNOWN_ID
        memory_id = (await app.call(CreateMemory(content="x", agent_id=agent()))).memory_id
        with pytest.raises(VersionConflict) as conflict:
            await app.call(UpdateMemory(memory_id=memory_id, importance=1.0, expected_version=7))
        assert (conflict.value.memory_id, conflict.value.expected, conflict.value.actual) == (memory_id, 7, 1)
        too_much = tuple(CreateMemory(content="x" * 65_000) for _ in range(130))
        with pytest.raises(RequestTooLarge):
            await app.call(CreateMemories(memories=too_much))


async def test_bad_calls_by_name_are_refused_as_in_this_process(server: HttpServer) -> None:
    async with open_remote(url=server.url) as app:
        with pytest.raises(UnknownOperation) as unknown:
            await app.call_wire("get_memry", {})
        assert unknown.value.nearest == "get_memory"
        with pytest.raises(InvalidField) as invalid:
            await app.call_wire("create_memory", {"content": "x", "importance": float("nan")})
        told = "importance: must be a finite number. Give a number from 0 to 1; For example: {"
        assert invalid.value.message.startswith(told)
        with pytest.raises(ContentTooLarge):
            await app.call_wire("create_memory", {"content": "x" * 65_537})


async def test_server_that_is_not_there_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with open_remote(url=f"http://127.0.0.1:{port}") as app:
        with pytest.raises(ServiceUnreachable) as caught:
            await app.call(HealthCheck())
    assert (caught.value.code, caught.value.kind) == ("unavailable", Kind.UNAVAILABLE)
    assert f"http://127.0.0.1:{port} cannot be connected to" in caught.value.message
    assert "tmws serve" in caught.value.remedy


async def test_closed_connection_says_so() -> None:
    async with open_remote(url="http://127.0.0.1:9") as app:
        pass
    with pytest.raises(ServiceUnreachable, match="was closed"):
        await app.call(HealthCheck())


@pytest.mark.parametrize("answer", [b"", response("502 Bad Gateway", "<html>", "text/html")])
async def test_what_only_reads_is_asked_again_once(answer: bytes) -> None:
    async with double(answer) as elsewhere, open_remote(url=elsewhere.url) as app:
        with pytest.raises(ServiceUnreachable, match="broke twice"):
            await app.call(GetMemory(memory_id=UNKNOWN_ID))
    assert len(elsewhere.requests) == 2


@pytest.mark.parametrize("answer", [b"", response("502 Bad Gateway", "<html>", "text/html")])
async def test_what_changes_is_not_asked_again_and_its_outcome_is_unknown(answer: bytes) -> None:
    async with double(answer) as elsewhere, open_remote(url=elsewhere.url) as app:
        with pytest.raises(OutcomeUnknown) as caught:
            await app.call(CreateMemory(content="x"))
    assert (caught.value.operation, caught.value.code) == ("create_memory", "outcome_unknown")
    assert "idempotency_key" in caught.value.message
    assert len(elsewhere.requests) == 1


async def test_silence_ends_a_little_after_the_request_timeout() -> None:
    async with double(None) as elsewhere, open_remote(Settings(request_timeout=0.1), url=elsewhere.url) as app:
        with pytest.raises(RequestTimedOut) as caught:
            await app.call(CreateMemory(content="x"))
    assert caught.value.seconds == pytest.approx(2.1)


async def test_cancelled_call_hangs_up() -> None:
    async with double(None) as elsewhere, open_remote(url=elsewhere.url) as app:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app.call, HealthCheck())
                while not elsewhere.requests:
                    await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()


async def failure(answer: bytes) -> TmwsError:
    """Return what a call raises that gets this answer."""
    async with double(answer) as elsewhere, open_remote(url=elsewhere.url) as app:
        with pytest.raises(TmwsError) as caught:
            await app.call(CreateMemory(content="x"))
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        response("200 OK", "<html>", "text/html"),
        response("200 OK", "[]"),
        response("302 Found", ""),
        response("404 Not Found", "{}"),
        response("404 Not Found", '{"error": "no"}'),
    ],
)
async def test_what_is_no_tmws_is_recognised(answer: bytes) -> None:
    error = await failure(answer)
    assert isinstance(error, ServiceUnreachable)
    assert "not as TMWS does" in error.message


async def test_unknown_error_has_the_kind_of_its_status() -> None:
    error = await failure(response("401 Unauthorized", '{"error": {"code": "unauthenticated", "message": "Who?"}}'))
    assert isinstance(error, RemoteFailure)
    assert (error.code, error.kind, error.message) == ("unauthenticated", Kind.UNAUTHENTICATED, "Who?")
    odd = await failure(response("599 Odd", '{"error": {"code": "odd", "message": "Odd"}}'))
    assert (odd.code, odd.kind) == ("odd", Kind.INTERNAL)


async def test_answer_of_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    body = '{"success": true, "memory_id": "x", "embedding_generated": true, "embedding_latency_ms": 1, "colour": 1}'
    async with double(response("200 OK", body)) as elsewhere, open_remote(url=elsewhere.url) as app:
        stored = await app.call(CreateMemory(content="x"))
    assert (stored.memory_id, stored.duplicate_of) == ("x", None)


async def test_answer_that_lacks_something_is_an_error() -> None:
    error = await failure(response("200 OK", '{"success": true, "embedding_generated": 3}'))
    assert isinstance(error, PartUnavailable)
    assert "is not understood" in error.message


async def test_token_goes_with_every_request() -> None:
    async with double(b"") as elsewhere, open_remote(url=elsewhere.url, token="s3cret") as app:
        with pytest.raises(ServiceUnreachable):
            await app.call(HealthCheck())
    assert all(b"authorization: bearer s3cret\r\n" in request.lower() for request in elsewhere.requests)


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://localhost", "http://", "http://ana:pw@localhost:8000"])
async def test_url_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_remote(url=url):
            pass
    assert caught.value.setting == "url"


async def test_path_before_the_routes_is_kept(server: HttpServer) -> None:
    async with double(b"") as elsewhere, open_remote(url=f"{elsewhere.url}/memory/") as app:
        with pytest.raises(ServiceUnreachable):
            await app.call(HealthCheck())
    assert elsewhere.requests[0].startswith(b"POST /memory/mcp/tools/health_check ")
    async with open_remote(url=f"{server.url}/") as app:
        assert (await app.call(HealthCheck())).status == "healthy"


async def typed(app: RemoteApp) -> MemoryFound:
    """Show the type checker that the type of an answer follows from its request."""
    return await app.call(GetMemory(memory_id=UNKNOWN_ID))
