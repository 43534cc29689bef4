"""The file that TMWS_LOG_FILE names."""

import os
import signal
import stat
import subprocess
from pathlib import Path

from tests.shells.command import Command
from tests.shells.owners import until
from tests.shells.serving import http_server


def test_a_log_is_of_this_user_alone_and_made_anew_once_it_was_renamed(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "tmws.log"
    former = os.umask(0o022)
    try:
        with http_server(tmp_path / "home", TMWS_LOG_FILE=str(log), TMWS_LOG_LEVEL="DEBUG") as server:
            until(lambda: log.exists() and log.stat().st_size)
            modes = [stat.S_IMODE(each.stat().st_mode) for each in (log, log.parent)]
            log.rename(tmp_path / "rotated.log")
            assert server.call("create_memory", content="a note").status_code == 200
            until(log.exists)
            modes.append(stat.S_IMODE(log.stat().st_mode))
    finally:
        os.umask(former)

    assert modes == [0o600, 0o700, 0o600]


def test_a_pipe_that_nobody_reads_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    done = Command(tmp_path).using(TMWS_LOG_FILE=str(pipe)).run("memory", "list")

    assert done.code == 2
    assert "TMWS_LOG_FILE" in done.err


def test_a_log_goes_into_a_pipe_that_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["/bin/cat", pipe], stdout=subprocess.PIPE) as reader:
        Command(tmp_path).using(TMWS_LOG_FILE=str(pipe), TMWS_LOG_LEVEL="DEBUG").ok("memory", "create", "a note")
        read, _ = reader.communicate()

    assert b"DEBUG" in read


def test_a_log_that_cannot_be_made_anew_stops_nobody(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "tmws.log"
    with http_server(tmp_path / "home", TMWS_LOG_FILE=str(log), TMWS_LOG_LEVEL="DEBUG") as server:
        until(log.exists)
        log.parent.rename(tmp_path / "rotated")
        log.parent.write_text("no directory", encoding="utf-8")
        assert server.call("create_memory", content="a note").status_code == 200
        assert server.call("list_memories").json()["memories"]


def test_whoever_renames_the_log_may_send_the_signal_that_says_so(tmp_path: Path) -> None:
    log = tmp_path / "tmws.log"
    with http_server(tmp_path / "home", TMWS_LOG_FILE=str(log)) as server:
        log.rename(tmp_path / "tmws.log.1")
        server.process.send_signal(signal.SIGHUP)
        assert server.call("create_memory", content="a note").status_code == 200
        server.stop()
        assert server.process.returncode == 0
