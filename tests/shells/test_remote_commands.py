"""Commands while a server or an owner has the database: it answers them, and the user sees no difference."""

from pathlib import Path

import pytest

from tests.shells.command import Command, Done
from tests.shells.inside import Inside
from tests.shells.serving import HttpServer, http_server
from tests.shells.test_rest import UNKNOWN_ID

READING = [
    ("memory", "list"),
    ("memory", "list", "--details", "--json"),
    ("memory", "get-stats", "--json"),
    ("memory", "search", "ferry"),
    ("memory", "get", UNKNOWN_ID),
    ("memory", "get", UNKNOWN_ID, "--json"),
    ("memory", "get", "7"),
    ("memory", "list", "--limit", "0"),
    ("memory", "list", "--agent-id", "ana", "--json"),
]


def calls(server: HttpServer, operation: str) -> int:
    """Return how often a server has run an operation."""
    found: int = server.call("get_system_stats").json()["operations"].get(operation, {"calls": 0})["calls"]
    return found


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Inside(tmp_path)


@pytest.mark.embedded("a server owns the directory")
def test_running_server_answers_commands_as_they_would_answer_themselves(command: Command) -> None:
    with http_server(command.home) as server:
        command.ok("memory", "create", "The ferry leaves at nine.")
        command.ok("--agent-id", "ana", "memory", "create", "Ana is late.")
        assert calls(server, "create_memory") == 2
        served: list[Done] = [command.run(*words) for words in READING]
        assert calls(server, "list_memories") > 0
        server.stop()
    assert [command.run(*words) for words in READING] == served
    assert [done.code for done in served] == [0, 0, 0, 0, 3, 3, 2, 2, 0]
    assert served[1].out.count('"transport": "cli"') == 2


@pytest.mark.embedded("a server owns the directory")
def test_command_with_settings_of_its_own_does_not_ask_the_server(command: Command) -> None:
    with http_server(command.home) as server:
        command.using(TMWS_SEARCH_RECENCY="0.5").ok("memory", "list")
        assert calls(server, "list_memories") == 0
        command.using(TMWS_SEARCH_RECENCY="0").ok("memory", "list")
        assert calls(server, "list_memories") == 1
        server.stop()


def test_command_starts_no_owner(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.ok("memory", "list")
    assert not (command.home / "run").exists()
