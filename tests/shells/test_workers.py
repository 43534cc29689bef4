"""Several processes that serve one port: they share the work, replace one another, and stop together."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers.postgres import GUARDED, PostgresServer
from tests.shells.command import Command
from tests.shells.serving import PATIENCE, HttpServer, http_server
from tests.shells.test_http_server import connect, read_all, session
from tests.shells.test_sessions import ping
from tmws_adapters.settings import Settings

PROCESSES = 2

START_SECONDS = 120
"""How long processes may take to begin one after the other, on a busy machine."""


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database("template0") as created:
        yield created


@contextmanager
def serving(home: Path, url: str) -> Iterator[HttpServer]:
    """Run a server of several processes, and wait until all of them serve."""
    given = {"TMWS_LOG_FILE": str(home / "log"), "TMWS_ENABLE_METRICS": "true"}
    with http_server(home, TMWS_DATABASE_URL=url, TMWS_MAX_WORKERS=str(PROCESSES), **given) as server:
        until(lambda: f"{PROCESSES} processes serve" in log_of(home), "all serve")
        started = workers(server)
        try:
            yield server
        finally:
            for pid in {*started, *workers(server)}:
                end(pid, signal.SIGKILL)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)


def log_of(home: Path) -> str:
    return (home / "log").read_text()


def workers(server: HttpServer) -> list[int]:
    """Return the processes that serve; the one that looks after them does not."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    pids = children.read_text().split() if children.exists() else []
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def end(pid: int, number: signal.Signals) -> None:
    if runs(pid):
        os.kill(pid, number)


def answers(server: HttpServer) -> bool:
    return httpx.get(f"{server.url}/health/live", timeout=PATIENCE, trust_env=False).status_code == 200


def test_each_process_answers_and_they_know_the_sessions_of_one_another(home: Path, url: str) -> None:
    with serving(home, url) as server:
        headers = session(server)
        for stuck in workers(server):
            os.kill(stuck, signal.SIGSTOP)
            with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
                assert ping(HttpServer(server.url, client, server.process), headers) == 200
            os.kill(stuck, signal.SIGCONT)
        assert len(workers(server)) == PROCESSES
        for pid in (server.process.pid, *workers(server)):
            os.kill(pid, signal.SIGHUP)
        assert answers(server)
        server.stop()
    assert log_of(home).count("has no effect") == 1
    assert "SIGHUP" not in log_of(home)
    assert log_of(home).count("Database migrated") == 1
    assert log_of(home).count("MCP server started") == 1


def test_process_that_dies_is_replaced(home: Path, url: str) -> None:
    with serving(home, url) as server:
        before = workers(server)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: before[0] not in workers(server) and len(workers(server)) == PROCESSES, "another one begins")
        os.kill(before[1], signal.SIGSTOP)
        assert answers(server)
        os.kill(before[1], signal.SIGCONT)
        assert not {before[0]} & set(workers(server))
        server.stop()
    assert "ended with SIGKILL: another one begins" in log_of(home)


def test_stop_finishes_what_runs_in_each_process(home: Path, url: str) -> None:
    body = b"POST /mcp/tools/health_check HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{"
    with serving(home, url) as server, ExitStack() as stack:
        started = workers(server)
        connections = [stack.enter_context(connect(server)) for _ in range(8)]
        for connection in connections:
            connection.sendall(body)
        assert answers(server)
        for pid in (*started, server.process.pid):  # as a service manager or a terminal may do
            os.kill(pid, signal.SIGTERM)
        until(lambda: refuses(server), "nobody accepts any more")
        for connection in connections:
            connection.sendall(b"}")
        assert all(b'"status":"healthy"' in read_all(connection) for connection in connections)
        server.log()
        assert not any(map(runs, started))


def refuses(server: HttpServer) -> bool:
    try:
        answers(server)
    except httpx.TransportError:
        return True
    return False


def test_processes_end_with_the_one_that_looks_after_them(home: Path, url: str) -> None:
    with serving(home, url) as server:
        started = workers(server)
        server.process.kill()
        until(lambda: not any(map(runs, started)), "they end")


def test_start_that_fails_is_one_error_of_the_command(tmp_path: Path, postgres: PostgresServer) -> None:
    wrong = postgres.url("postgres", user=GUARDED, password="wrong-secret")

    done = Command(tmp_path).using(TMWS_DATABASE_URL=wrong, TMWS_MAX_WORKERS="2", TMWS_PORT="0").run("serve")

    assert done.code == 5, done
    assert "refused the user or its password" in done.err
    assert "Traceback" not in done.err
    assert "wrong-secret" not in done.err


@pytest.mark.embedded("there is a file")
def test_one_process_serves_a_file_and_says_so(home: Path) -> None:
    with http_server(home, TMWS_MAX_WORKERS="4") as server:
        assert answers(server)
        log = server.stop()
    assert "One process serves: TMWS_MAX_WORKERS is for PostgreSQL" in log


def test_number_of_processes_is_that_of_processors_and_four_at_most() -> None:
    stored = "postgresql://localhost/tmws"

    assert Settings(database_url=stored).workers == min(4, os.cpu_count() or 1)
    assert Settings(database_url=stored, max_workers=7).workers == 7
    assert Settings(database_url=stored, max_workers=7, chroma_url="http://localhost:8001").workers == 7
    assert Settings(database_url=stored, max_workers=7, vector_backend="chroma").workers == 1
    assert Settings(max_workers=7).workers == 1
