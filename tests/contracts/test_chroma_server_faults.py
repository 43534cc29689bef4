"""What becomes of Chroma's index when its server fails."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.contracts.chroma_child import MODEL
from tests.contracts.chroma_server import ChromaServer, free_port, running_server
from tests.contracts.chroma_steps import changes, found, refusal
from tmws_adapters.chroma import open_chroma
from tmws_adapters.chroma.index import REQUEST_TIMEOUT
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.index import DerivedIndex

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def remote(server: ChromaServer) -> AsyncIterator[DerivedIndex]:
    url = server.url.replace("//", "//ada:secret@")
    async with open_chroma(directory=None, url=url) as index:
        await index.reset(MODEL)
        await index.apply(changes(1, 2, 3))
        yield index


async def test_a_server_that_stops_and_starts_is_used_again(server: ChromaServer, remote: DerivedIndex) -> None:
    refused: list[str] = []
    stopped = anyio.Event()

    async def search() -> None:
        while not (stopped.is_set() and refused):
            try:
                assert await found(remote) == [1, 2, 3]
            except IndexUnavailable as error:
                refused.append(error.message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(search)
        assert await found(remote) == [1, 2, 3]
        await anyio.to_thread.run_sync(server.stop)
        stopped.set()
    with pytest.raises(IndexUnavailable, match="does not answer"):
        await remote.apply(changes(4))
    server.start()

    assert not [message for message in refused if "secret" in message or server.url not in message]
    assert await found(remote) == [1, 2, 3]
    await remote.apply(changes(0))
    assert await found(remote) == [0, 1, 2]


async def test_a_server_that_stops_while_changes_are_made_takes_them_again(
    server: ChromaServer, remote: DerivedIndex
) -> None:
    many = changes(*range(5000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, server.stop)
        with pytest.raises(IndexUnavailable):
            await remote.apply(many)
    server.start()
    await remote.apply(many)

    assert (await remote.documents("a")).tolist() == list(range(5000))


async def test_a_server_that_never_ran_is_named_without_the_password() -> None:
    async with open_chroma(directory=None, url=f"http://ada:secret@127.0.0.1:{free_port()}") as index:
        message = await refusal(index)

    assert "http://127.0.0.1:" in message
    assert "chroma run" in message
    assert "secret" not in message
    assert "ada" not in message


async def test_a_server_that_accepts_and_never_answers_costs_a_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with open_chroma(directory=None, url=url, request_timeout=timedelta(seconds=0.2)) as index:
            began = anyio.current_time()
            assert "no answer" in await refusal(index)
            with pytest.raises(IndexUnavailable, match=r"within 0\.2 seconds"):
                await index.apply(changes(1))
            assert anyio.current_time() - began < REQUEST_TIMEOUT.total_seconds()


@attrs.frozen
class Answer:
    status: int
    body: str


@contextmanager
def impostor(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """Serve one answer to everything; yields the URL and the Authorization headers that came."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(answer.status)
            self.end_headers()
            self.wfile.write(answer.body.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is inherited
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, "who are you"), "answered 401"),
        (Answer(302, ""), "answered 302"),
        (Answer(502, "<html>"), "answered 502"),
        (Answer(500, '{"error": "InternalError", "message": "out of order"}'), "answered: out of order"),
        (Answer(200, "<html>"), "answered something else than Chroma"),
        (Answer(200, "[]"), "answered something else than Chroma"),
        (Answer(200, "{}"), "answered something else than Chroma"),
    ],
)
async def test_answers_that_are_no_use_are_told(answer: Answer, said: str) -> None:
    with impostor(answer) as (address, seen):
        async with open_chroma(directory=None, url=f"http://ada:open%20sesame@{address}") as index:
            message = await refusal(index)

    assert said in message
    assert "sesame" not in message
    assert set(seen) == {"Basic YWRhOm9wZW4gc2VzYW1l"}
