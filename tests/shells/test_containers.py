"""Two containers on one volume: the second is told where the owner is, and to kill no process of its own."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.owners import is_owned, owner_of, place_in, until
from tests.shells.serving import STDIO, environment, request, run_stdio
from tests.shells.test_owner import stale
from tmws_adapters.local.finding import knock, silent
from tmws_adapters.local.greeting import Elsewhere
from tmws_adapters.local.holding import replace
from tmws_adapters.local.lock import take
from tmws_adapters.local.record import write
from tmws_adapters.local.whereabouts import network, processes

AS_ROOT = [] if os.geteuid() == 0 else ["--map-root-user"]
CONTAINER = ["unshare", *AS_ROOT, "--net", "--pid", "--fork", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Runs the words behind it in a network, and among processes, of its own."""


def can_contain() -> bool:
    try:
        return subprocess.run([*CONTAINER, "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@contextmanager
def terminal_in_a_container(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A terminal and its owner; when the one ends, the kernel ends the other."""
    command = [*CONTAINER, *STDIO]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=home, env=environment(home)
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(request(1, "ping"))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        yield process
        process.stdin.close()


@pytest.mark.skipif(not can_contain(), reason="no namespaces can be made here")
@pytest.mark.embedded("who shares a database server shares no owner")
def test_terminal_in_another_container_is_told_at_once_where_the_owner_is(tmp_path: Path) -> None:
    command = Command(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    home = command.home
    home.mkdir(mode=0o700)
    with terminal_in_a_container(home):
        record = owner_of(home)
        assert record.network not in (None, network())
        assert record.processes not in (None, processes())
        refused = run_stdio(home, request(1, "ping"))
        stopping = command.run("stop")
        doctor = command.run("doctor").out
    message = refused.answer(1)["error"]["message"]
    for said in (message, refused.stderr, stopping.err, doctor):
        assert f"{home}/tmws.db is served by another container or host, which cannot be reached from here" in said
        assert "kill -" not in said
    assert refused.code == stopping.code == 5
    until(lambda: not is_owned(home))


def test_record_of_another_network_is_told_unless_it_is_the_former_one_of_a_new_owner(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_in(home)
    place.prepare()
    record = stale(1, "12" * 32)
    record.network = "another"
    write(place.record, record)
    lock = take(place.lock)
    assert lock is not None
    with pytest.raises(Elsewhere, match="is served by another container or host"), replace(place, "http://127.0.0.1:1"):
        pytest.fail("two own the place")
    # A new owner writes its own some time after it has the lock.
    monkeypatch.setattr(time, "sleep", lambda _: write(place.record, stale(1, "34" * 32)))
    assert knock(place) is None
    os.close(lock)


def test_nobody_is_told_to_kill_a_process_by_an_id_that_is_another_one_here(home: Path) -> None:
    place = place_in(home)
    place.prepare()
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        record = stale(stopped.getsockname()[1], "12" * 32)
        record.processes = "another"
        write(place.record, record)
        assert "a process of another container holds" in str(silent(place, 1.0)).lower()
    assert "takes no connections" in str(silent(place, 1.0))
    assert "kill -" not in str(silent(place, 1.0))
