"""There is one owner of a data directory, whoever starts it, and whatever another one has left behind."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.shells.command import ROOT, Command
from tests.shells.owners import another_owner, is_owned, kill_owner, owner_of, place_in, raw, until
from tests.shells.serving import PATIENCE, STDIO, conversation, environment, http_server, request, run_stdio, tool
from tests.stacks import change, settings_in
from tmws_adapters.local import holding
from tmws_adapters.local.finding import PROOF_SECONDS, knock
from tmws_adapters.local.greeting import Refused
from tmws_adapters.local.holding import hold, replace
from tmws_adapters.local.lock import take
from tmws_adapters.local.record import Record, read, write
from tmws_adapters.local.starting import LOG_BYTES, set_aside
from tmws_adapters.local.version import VERSION


def stale(port: int, secret: str) -> Record:
    return Record(pid=1, port=port, secret=secret, version=VERSION, kind="owner")


@contextmanager
def stranger() -> Iterator[tuple[int, list[bytes]]]:
    """A listener that answers whoever comes with its own line and hangs up: its port, and what it was told."""
    heard: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(1024 * 1024))
                connection.sendall(b'{"tmws": 1, "nonce": "' + b"00" * 32 + b'", "proof": "' + b"00" * 32 + b'"}\n')
                heard.append(connection.recv(1024 * 1024))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=listen)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def start_owner(
    home: Path, *, told: int = subprocess.PIPE, errors: int = subprocess.DEVNULL, **settings: str
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tmws_mcp.owner", place_in(home).database],
        stdin=subprocess.DEVNULL,
        stdout=told,
        stderr=errors,
        cwd=home,
        env=environment(home, **settings),
    )


def test_of_two_that_start_at_once_one_becomes_the_owner(home: Path) -> None:
    starters = [start_owner(home) for _ in range(2)]
    reports = [starter.communicate(timeout=PATIENCE)[0] for starter in starters]
    assert reports == [b'{"ok": true}\n'] * 2
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        link = knock(place_in(home))
        assert link is not None
        link.socket.close()
    until(lambda: not is_owned(home))


def test_owner_that_nobody_visits_ends(home: Path) -> None:
    starter = start_owner(home)
    starter.communicate(timeout=PATIENCE)
    assert is_owned(home)
    until(lambda: not is_owned(home))


def test_owner_whose_starter_was_killed_serves_others(home: Path) -> None:
    report, told = os.pipe()
    os.close(report)
    log = home / "errors"
    with log.open("wb") as errors:
        start_owner(home, told=told, errors=errors.fileno()).wait(PATIENCE)
    os.close(told)
    links = []

    def answered() -> bool:
        links.append(knock(place_in(home)))
        return links[-1] is not None or "Traceback" in log.read_text()

    until(answered)
    assert links[-1] is not None
    links[-1].socket.close()
    until(lambda: not is_owned(home))
    assert "Traceback" not in log.read_text()


def test_owner_keeps_nothing_of_what_a_script_has_open(home: Path) -> None:
    read_end, write_end = os.pipe()
    subprocess.run(
        STDIO,
        input=request(1, "ping"),
        stdout=subprocess.DEVNULL,
        cwd=home,
        env=environment(home, TMWS_OWNER_IDLE_SECONDS="60"),
        pass_fds=(write_end,),
        timeout=PATIENCE,
        check=True,
    )
    os.close(write_end)
    ended, _, _ = select.select([read_end], [], [], 10)
    os.close(read_end)
    assert ended
    kill_owner(home)


def test_owner_waits_for_the_next_client_as_long_as_it_is_set(home: Path) -> None:
    first = run_stdio(home, request(1, "ping"), TMWS_OWNER_IDLE_SECONDS="60")
    assert first.code == 0
    former = owner_of(home)
    assert run_stdio(home, request(1, "ping"), TMWS_OWNER_IDLE_SECONDS="60").code == 0
    assert owner_of(home).pid == former.pid
    os.kill(former.pid, signal.SIGTERM)
    until(lambda: not is_owned(home))
    assert read(place_in(home).record) is None


def test_record_of_an_owner_that_is_gone_is_not_followed(home: Path) -> None:
    with stranger() as (port, heard):
        place_in(home).prepare()
        write(place_in(home).record, stale(port, "00" * 32))
        with conversation(home) as terminal:
            assert terminal.ask(request(1, "ping"))["id"] == 1
            assert owner_of(home).port != port
    assert heard == []


def test_stranger_on_the_port_of_an_owner_is_not_trusted_and_learns_nothing(home: Path) -> None:
    place = place_in(home)
    place.prepare()
    with stranger() as (port, heard):
        record = stale(port, "12" * 32)
        write(place.record, record)
        lock = take(place.lock)
        assert lock is not None
        assert knock(place) is None
        os.close(lock)
    assert len(heard) == 2
    assert b"nonce" in heard[0]
    assert record.secret.encode() not in heard[0]
    assert heard[1] == b""


@pytest.mark.parametrize("left", [b"", b"{", b"[1]", b'{"pid": 1}', b'{"port": "x"}'])
def test_record_that_makes_no_sense_is_replaced(home: Path, left: bytes) -> None:
    place_in(home).prepare()
    Path(place_in(home).record).write_bytes(left)
    assert read(place_in(home).record) is None


def test_files_of_an_owner_are_for_its_user_alone(home: Path) -> None:
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        place = place_in(home)
        modes = [Path(path).stat().st_mode & 0o777 for path in (place.record, place.lock, place.log)]
        assert modes == [0o600] * 3
        assert (home / "run").stat().st_mode & 0o777 == 0o700


def test_owner_of_another_version_is_replaced_by_a_terminal_that_starts(home: Path) -> None:
    with another_owner(home) as former, conversation(home) as terminal:
        terminal.ask(tool(1, "create_memory", content="kept"))
        assert owner_of(home).pid != former.pid
        assert owner_of(home).version == VERSION


def test_terminal_that_runs_already_takes_the_owner_of_another_version(home: Path) -> None:
    with conversation(home) as terminal:
        terminal.ask(tool(1, "create_memory", content="kept"))
        kill_owner(home)
        with another_owner(home) as next_one:
            assert terminal.ask(tool(2, "get_memory_stats"))["result"]["structuredContent"]["total"] == 1
            assert owner_of(home).pid == next_one.pid


def test_owner_that_speaks_another_protocol_is_replaced(home: Path) -> None:
    with another_owner(home, wire=2) as former, conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        assert owner_of(home).pid != former.pid


def test_owner_process_refuses_settings_that_name_another_place(home: Path) -> None:
    report, _ = start_owner(home, TMWS_DATABASE_URL="sqlite:////elsewhere/tmws.db").communicate(timeout=PATIENCE)
    assert b"/elsewhere/tmws.db" in report
    assert b'"ok": false' in report
    assert not is_owned(home)


def test_store_of_a_newer_version_is_told_to_the_client_and_on_stderr(home: Path) -> None:
    run_stdio(home, tool(1, "create_memory", content="kept"))
    until(lambda: not is_owned(home))
    change(settings_in(home), "UPDATE alembic_version SET version_num = '9999'")
    finished = run_stdio(home, request(1, "ping"))
    error = finished.answer(1)["error"]
    assert (finished.code, error["data"]["code"]) == (5, "schema_too_new")
    assert finished.stderr == f"error: {error['message']}\n"
    until(lambda: not is_owned(home))


@pytest.mark.parametrize("module", [pytest.param("dotenv", marks=pytest.mark.embedded("a terminal needs it")), "mcp"])
def test_owner_with_a_broken_package_is_told_with_the_end_of_its_log(home: Path, module: str) -> None:
    broken = home / "broken"
    broken.mkdir()
    (broken / f"{module}.py").write_text("raise ImportError('no such thing here')", encoding="utf-8")
    finished = run_stdio(home, request(1, "ping"), PYTHONPATH=f"{broken}:{ROOT}")
    assert finished.code == 5
    assert "ended 5 times while it started" in finished.stderr
    assert "no such thing here" in finished.stderr
    assert "no such thing here" in finished.answer(1)["error"]["message"]


def test_log_that_has_grown_large_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "owner.log"
    set_aside(str(log))
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    set_aside(str(log))
    set_aside(str(log))
    assert not log.exists()
    assert (tmp_path / "owner.log.1").stat().st_size == LOG_BYTES + 1


@pytest.mark.embedded("a server owns the directory")
def test_server_takes_over_from_the_owner_and_terminals_follow_it_and_go_on_after_it(home: Path) -> None:
    with conversation(home, TMWS_AGENT_ID="athena") as terminal:
        terminal.ask(tool(1, "create_memory", content="kept"))
        former = owner_of(home)
        with http_server(home) as server:
            assert (owner_of(home).kind, owner_of(home).url) == ("server", server.url)
            assert owner_of(home).pid == server.process.pid != former.pid
            listed = terminal.ask(tool(2, "list_memories", details=True))["result"]["structuredContent"]["memories"]
            assert [memory["agent_id"] for memory in listed] == ["athena"]
            terminal.send(tool(3, "create_memory", content="more"))
            server.stop()
            assert terminal.receive()["result"]["structuredContent"]["success"] is True
        assert terminal.ask(tool(4, "get_memory_stats"))["result"]["structuredContent"]["total"] == 2
        assert owner_of(home).kind == "owner"


@pytest.mark.embedded("a server owns the directory")
def test_second_server_of_a_directory_is_refused_with_the_first_one_named(tmp_path: Path) -> None:
    command = Command(tmp_path)
    with http_server(command.home) as server:
        done = command.run("serve", "--port", "0")
        assert done.code == 2
        [line] = done.err.splitlines()
        assert line.startswith("error: ")
        assert f"process {server.process.pid} at {server.url}" in line
        assert "TMWS_HOME" in line
        assert server.client.get("/health/live").status_code == 200
        server.stop()


@pytest.mark.embedded("a server owns the directory")
def test_server_is_not_stopped_by_clients(home: Path) -> None:
    with http_server(home) as server:
        with raw(home) as connection:
            answer = connection.greet(speak="stop")
        assert answer is not None
        assert answer["error"]["code"] == "forbidden"
        stop = Command(home.parent).run("stop")
        who = f"Process {server.process.pid} at {server.url}"
        how = f"end it with `kill {server.process.pid}`, or Ctrl-C where it runs"
        assert stop.code == 4
        assert stop.err == f"error: {who} is a server that somebody started with `tmws serve`: {how}\n"
        assert server.client.get("/health/live").status_code == 200
        server.stop()


@pytest.mark.embedded("a server owns the directory")
def test_terminal_of_another_version_goes_on_with_a_server_that_understands_it(home: Path) -> None:
    with http_server(home) as server:
        patch = "from tmws_adapters.local import version; version.VERSION = '3.9.9'"
        finished = subprocess.run(
            [sys.executable, "-P", "-c", f"{patch}; from tmws_cli.__main__ import main; main()"],
            input=request(1, "ping"),
            capture_output=True,
            cwd=home,
            env=environment(home),
            timeout=PATIENCE,
            check=True,
        )
        assert b'"id":1' in finished.stdout
        assert owner_of(home).pid == server.process.pid
        server.stop()


@pytest.mark.embedded("a server owns the directory")
def test_server_that_speaks_another_protocol_is_named_with_the_remedy(home: Path) -> None:
    with http_server(home) as server:
        patch = "from tmws_adapters.local import greeting; greeting.WIRE = 2"
        finished = subprocess.run(
            [sys.executable, "-P", "-c", f"{patch}; from tmws_cli.__main__ import main; main()"],
            input=request(1, "ping"),
            capture_output=True,
            text=False,
            cwd=home,
            env=environment(home),
            timeout=PATIENCE,
            check=False,
        )
        said = finished.stderr.decode()
        assert finished.returncode == 2
        assert f"Process {server.process.pid} at {server.url}" in said
        assert "install the same version" in said
        server.stop()


def test_second_signal_ends_a_terminal_whose_owner_is_stuck(home: Path) -> None:
    with conversation(home) as terminal:

        def ended_by_signals() -> bool:
            # Two that come at once are one.
            terminal.process.send_signal(signal.SIGTERM)
            return terminal.process.poll() is not None

        terminal.ask(request(1, "ping"))
        os.kill(owner_of(home).pid, signal.SIGSTOP)
        terminal.send(request(2, "ping"))
        until(ended_by_signals)
        assert terminal.process.wait(PATIENCE) == 0
        os.kill(owner_of(home).pid, signal.SIGCONT)
    until(lambda: not is_owned(home))


def owner_line(command: Command) -> str:
    said = command.run("doctor").out.splitlines()
    return next(line for line in said if " owner process: " in line)


@pytest.mark.embedded("a server owns the directory")
def test_doctor_tells_who_owns_the_directory(tmp_path: Path) -> None:
    command = Command(tmp_path)
    place = place_in(command.home)
    assert owner_line(command) == "✅ owner process: none is running; an agent terminal starts one"
    with http_server(command.home) as server:
        line = owner_line(command)
        assert f"process {server.process.pid}, version {VERSION}, serves {server.url} and terminals" in line
        server.stop()
    write(place.record, stale(1, "00" * 32))
    assert owner_line(command).startswith("✅ owner process: none is running; process 1 has died")
    lock = take(place.lock)
    assert lock is not None
    line = owner_line(command)
    os.close(lock)
    ends = "It ends: wait until it has, or end it (kill -9 1)"
    assert line == f"❌ owner process: process 1 holds {place.lock} and takes no connections → {ends}"


def test_server_waits_no_longer_for_an_owner_that_is_stopped_than_for_one_that_works(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "TAKEOVER_SECONDS", 0.3)
    place = place_in(home)
    began = time.monotonic()
    with hold(place), pytest.raises(Refused, match="does not end"), replace(place, "http://127.0.0.1:1"):
        pytest.fail("two own the place")
    assert time.monotonic() - began < PROOF_SECONDS / 2


def test_lock_that_a_process_looks_at_for_long_is_not_lost_to_an_owner(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_in(home)
    place.prepare()
    looking = os.open(place.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(holding, "GLANCE_SECONDS", 0)
    monkeypatch.setattr(time, "sleep", lambda _: os.close(looking))

    with hold(place) as held, hold(place) as second:
        assert held is not None
        assert second is None
