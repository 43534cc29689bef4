"""The life of stdio servers: they end when they should, lose nothing, and share a data directory."""

import os
import signal
import subprocess
import tracemalloc
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.shells.serving import PATIENCE, STDIO, conversation, environment, request, run_stdio, tool
from tmws_mcp.wire import Wire


def test_two_servers_share_a_data_directory(home: Path) -> None:
    with conversation(home) as one, conversation(home) as other:
        for number in range(10):
            for server in (one, other):
                answer = server.ask(tool(number, "create_memory", content=f"text {number} of {id(server)}"))
                assert answer["result"]["structuredContent"]["success"] is True
        for server in (one, other):
            assert server.ask(tool(99, "get_memory_stats"))["result"]["structuredContent"]["total"] == 20


def test_acknowledged_memory_survives_kill(home: Path) -> None:
    with conversation(home) as server:
        answer = server.ask(tool(1, "create_memory", content="The cable was cut at kilometre nine."))
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(PATIENCE)
    memory_id = answer["result"]["structuredContent"]["memory_id"]
    found = run_stdio(home, tool(1, "search_memories", query="where was the cable cut?")).content(1)
    assert [hit["memory_id"] for hit in found["results"]] == [memory_id]


def test_signal_ends_a_server_that_waits_for_input(home: Path) -> None:
    with conversation(home) as server:
        assert "result" in server.ask(tool(1, "health_check"))
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
        assert server.process.stderr
        assert b"Traceback" not in server.process.stderr.read()


def test_signal_lets_running_requests_finish(home: Path) -> None:
    batch = [{"content": f"text {number}"} for number in range(100)]
    with conversation(home) as server:
        server.ask(tool(1, "health_check"))
        server.send(tool(2, "create_memories", memories=batch), request(3, "ping"))
        assert server.receive()["id"] == 3
        server.process.send_signal(signal.SIGTERM)
        assert len(server.receive()["result"]["structuredContent"]["results"]) == 100
        assert server.process.wait(PATIENCE) == 0


def test_client_that_went_away_ends_the_server_quietly(home: Path) -> None:
    with conversation(home) as server:
        server.ask(request(1, "ping"))
        assert server.process.stdout
        assert server.process.stderr
        server.process.stdout.close()
        server.send(request(2, "ping"))
        assert server.process.wait(PATIENCE) == 0
        assert b"Traceback" not in server.process.stderr.read()


def test_client_that_never_reads_does_not_keep_the_server_alive(home: Path) -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            STDIO,
            input=b"".join(request(number, "tools/list") for number in range(50)),
            stdout=writer,
            stderr=subprocess.PIPE,
            cwd=home,
            env=environment(home, TMWS_REQUEST_TIMEOUT="1"),
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_files_serve_as_input_and_output(home: Path) -> None:
    (home / "in").write_bytes(request(1, "ping"))
    with (home / "in").open("rb") as source, (home / "out").open("wb") as sink:
        subprocess.run(
            STDIO,
            stdin=source,
            stdout=sink,
            cwd=home,
            env=environment(home),
            timeout=PATIENCE,
            check=True,
        )
    assert (home / "out").read_bytes() == b'{"jsonrpc":"2.0","id":1,"result":{}}\n'


@pytest.mark.embedded("the file is damaged")
def test_store_that_cannot_be_opened_ends_the_server_with_the_reason(home: Path) -> None:
    (home / "tmws.db").write_bytes(b"this is no database" * 1000)
    finished = run_stdio(home, tool(1, "health_check"))
    assert finished.code == 5
    assert finished.stderr.startswith("error: sqlite: the file is no SQLite database")
    assert finished.stderr.startswith(f"error: {finished.answer(1)['error']['message']}")


@pytest.mark.anyio
async def test_over_long_line_is_not_kept_in_memory() -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as sink:
            for _ in range(64):
                sink.write(b"x" * 1024 * 1024)
            sink.write(b"\nshort\n")

    tracemalloc.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, write)
        lines = [line async for line in Wire(reader).lines(1024 * 1024)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    os.close(reader)
    assert lines == [None, b"short"]
    assert peak < 8 * 1024 * 1024
