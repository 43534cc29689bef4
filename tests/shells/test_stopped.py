"""A process that is stopped (SIGSTOP) keeps nobody waiting: whoever comes gets an honest answer, or does without it."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import attrs
import pytest

from tests.shells.command import Command
from tests.shells.owners import is_owned, owner_of, place_in, until
from tests.shells.serving import PATIENCE, conversation, request
from tmws_adapters.local import starting
from tmws_adapters.local.greeting import Silent
from tmws_adapters.local.record import Record
from tmws_adapters.local.starting import reach, start
from tmws_adapters.remote import ServiceUnreachable, open_remote, opening
from tmws_adapters.settings import load_settings

QUICK = "0.5"
"""The request timeout: nobody waits for whoever is stopped for much longer than one request may take."""


PATIENT = "5"
"""The one of a command that has to do its work in that time, too, after it has waited as long for the owner."""


@contextmanager
def stopped_owner(home: Path) -> Iterator[Record]:
    """Have an owner that a terminal has started, and that does nothing."""
    with conversation(home) as terminal:
        terminal.ask(request(1, "ping"))
        owner = owner_of(home)
        os.kill(owner.pid, signal.SIGSTOP)
        try:
            yield owner
        finally:
            os.kill(owner.pid, signal.SIGKILL)
            until(lambda: not is_owned(home))


@pytest.mark.embedded("commands ask no owner where there is a database server")
def test_commands_beside_an_owner_that_is_stopped_do_their_work_and_the_doctor_names_it(tmp_path: Path) -> None:
    command = Command(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing", TMWS_REQUEST_TIMEOUT=PATIENT)
    with stopped_owner(command.home) as owner:
        command.ok("memory", "create", "The ferry leaves at nine.")
        exported = command.ok("export", "-").out
        command.ok("move", "--to", f"sqlite:///{tmp_path}/moved.db")
        command.ok("audit", "sign")
        doctor = command.using(TMWS_REQUEST_TIMEOUT=QUICK).run("doctor")
    assert [json.loads(line)["content"] for line in exported.splitlines()] == ["The ferry leaves at nine."]
    line = next(line for line in doctor.out.splitlines() if " owner process: " in line)
    assert f"process {owner.pid} holds {place_in(command.home).lock} and does not answer" in line
    assert doctor.code != 0


@pytest.mark.embedded("a database server has no owner that could be stopped")
@pytest.mark.anyio
async def test_python_client_beside_an_owner_that_is_stopped_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "REACH_GRACE_SECONDS", 0.2)
    settings = attrs.evolve(load_settings({"TMWS_HOME": str(home)}, dotenv=None), request_timeout=float(QUICK))
    with stopped_owner(home) as owner:
        with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnreachable) as caught:
            async with open_remote(settings):
                pass
        assert f"Process {owner.pid} holds" in str(caught.value)
        assert "stopped or stuck" in str(caught.value)


@pytest.fixture
def starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that is run instead of the owner; those that it names in `pids` are killed in the end."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(starting, "OWNER", "stopping")
    pids = tmp_path / "pids"
    monkeypatch.setenv("PIDS", str(pids))
    yield tmp_path / "stopping.py"
    for pid in pids.read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(int(pid), 0)


_STOP = """
import os, signal
with open(os.environ["PIDS"], "a") as pids:
    pids.write(f"{os.getpid()} ")
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.embedded("servers of a database are started by nobody else")
def test_start_does_not_wait_for_a_process_that_says_it_listens_and_does_not_end(home: Path, starter: Path) -> None:
    starter.write_text(f"print('{{}}', flush=True){_STOP}")
    start(place_in(home), 0.5)
    assert starter.with_name("pids").read_text()


@pytest.mark.embedded("servers of a database are started by nobody else")
def test_owner_that_does_not_start_in_time_is_called_that(home: Path, starter: Path) -> None:
    starter.write_text(_STOP)
    with pytest.raises(Silent, match=r"did not start within 0\.5 seconds"):
        reach(place_in(home), {"speak": "calls"}, seconds=0.5)
