"""What clients are told when the data directory is taken away under the process that has it open."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.shells.command import Command
from tests.shells.owners import is_owned, kill_owner, log_of, owner_of, place_in, until
from tests.shells.serving import PATIENCE, Conversation, conversation, http_server, tool
from tmws_adapters.local.record import read

pytestmark = pytest.mark.embedded("the store is a file")

QUICK = {"TMWS_ONNX_MODEL_DIR": "missing"}


def delete_the_file(home: Path) -> None:
    for each in home.glob("tmws.db*"):
        each.unlink()


def delete_the_directory(home: Path) -> None:
    shutil.rmtree(home)


def replace_the_file(home: Path) -> None:
    shutil.copy(home / "tmws.db", home / "copy.db")
    (home / "copy.db").replace(home / "tmws.db")


FAULTS = [delete_the_directory, replace_the_file]


def create(terminal: Conversation, content: str) -> dict[str, Any]:
    answer = terminal.ask(tool(1, "create_memory", content=content))
    body: dict[str, Any] = answer["result"]["structuredContent"]
    return body


def contents(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT content FROM memories_v2")}


@pytest.mark.parametrize("fault", FAULTS)
def test_terminals_are_told_that_nothing_is_stored_any_more(home: Path, fault: Callable[[Path], None]) -> None:
    with conversation(home, **QUICK) as terminal:
        assert create(terminal, "before")["success"]
        owner = owner_of(home)
        fault(home)
        answers = [create(terminal, "after") for _ in range(2)]
        health = terminal.ask(tool(2, "health_check"))["result"]["structuredContent"]
        found = terminal.ask(tool(3, "list_memories"))["result"]["structuredContent"]
        os.kill(owner.pid, signal.SIGKILL)

    assert [each["error"]["code"] for each in answers] == ["storage_gone"] * 2
    assert "start TMWS again" in answers[0]["error"]["message"]
    assert health["status"] == "unhealthy"
    assert "deleted, moved or replaced" in health["components"]["sqlite"]["reason"]
    assert [each["content"] for each in found["memories"]] == ["before"]


def test_what_a_deleted_log_held_is_saved_by_an_owner_that_may_end(home: Path) -> None:
    with conversation(home, **QUICK) as terminal:
        assert create(terminal, "before")["success"]
        (home / "tmws.db-wal").unlink()
        refused = create(terminal, "after")
        os.kill(owner_of(home).pid, signal.SIGTERM)
        until(lambda: not is_owned(home))

    assert refused["error"]["code"] == "storage_gone"
    assert "SIGTERM" in refused["error"]["message"]
    assert "before" in contents(home / "tmws.db")


def test_doctor_asks_the_owner_whether_it_can_store(tmp_path: Path) -> None:
    command = Command(tmp_path)
    with conversation(command.home, **QUICK) as terminal:
        assert create(terminal, "before")["success"]
        delete_the_file(command.home)
        done = command.run("doctor")

    assert done.code == 1
    assert "❌ owner process: " in done.out
    assert "deleted, moved or replaced" in done.out


def test_an_owner_whose_files_are_gone_makes_room_for_the_next_one(home: Path) -> None:
    with conversation(home, **QUICK) as terminal:
        assert create(terminal, "before")["success"]
        first = owner_of(home)
        shutil.rmtree(home / "run")
        with conversation(home, **QUICK) as other:
            assert create(other, "beside")["success"]
            second = owner_of(home)
            until(lambda: "were deleted or replaced" in log_of(home))
            assert create(terminal, "after")["success"]
            assert read(place_in(home).record) is not None, "the first owner took the record of the second with it"
        kill_owner(home)

    assert second.pid != first.pid
    assert contents(home / "tmws.db") == {"before", "beside", "after"}


def test_a_server_tells_it_to_callers_and_probes(home: Path) -> None:
    with http_server(home, **QUICK) as server:
        assert server.call("create_memory", content="before").status_code == 200
        delete_the_file(home)
        answer = server.call("create_memory", content="after")
        health = server.client.get("/health")
        ready = server.client.get("/health/ready")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_gone")
    assert (health.status_code, health.json()["status"], ready.status_code) == (503, "unhealthy", 503)


def test_a_server_whose_lock_is_gone_ends(home: Path) -> None:
    with http_server(home, **QUICK) as server:
        assert server.call("create_memory", content="before").status_code == 200
        shutil.rmtree(home / "run")
        assert server.process.wait(PATIENCE) == 0
        assert "were deleted or replaced" in server.log()

    assert contents(home / "tmws.db") == {"before"}
