"""`tmws agent …`, and the agents that a server finds at its start."""

import json
import os
from pathlib import Path

import pytest

from tests.licences import FREE_ONLY
from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.shells.serving import http_server, run_stdio, tool

SIX = 6


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Inside(tmp_path)


def listed(command: Command, *options: str) -> list[str]:
    return [agent["agent_id"] for agent in command.ok("agent", "list", *options, "--json").answer["agents"]]


def test_an_agent_lives_through_all_commands(command: Command) -> None:
    command.ok(
        *("agent", "register", "hera", "--namespace", "acme", "--role", "reader", "--display-name", "Hera"),
        *("--capabilities", "planning", "--capabilities", "weighing", "--metadata", '{"k": 1}'),
    )
    shown = command.ok("agent", "get", "hera").out.splitlines()
    assert "  display_name: Hera" in shown
    assert "  capabilities: planning, weighing" in shown
    updated = command.ok("agent", "update", "hera", "--role", "agent", "--json").answer["agent"]
    assert (updated["role"], updated["metadata"]) == ("agent", {"k": 1})
    created = command.ok("memory", "create", "Hers.", "--agent-id", "hera", "--json").answer
    explained = command.ok("agent", "explain-access", created["memory_id"], "hera", "--json").answer
    assert (explained["allowed"], explained["reason"]) == (True, "owner")
    command.ok("agent", "deactivate", "hera")
    refused = command.run("memory", "create", "Hers, too.", "--agent-id", "hera", "--json")
    assert (refused.code, refused.answer["error"]["code"]) == (4, "agent_inactive")
    command.ok("agent", "update", "hera", "--active")
    command.ok("memory", "create", "Hers, too.", "--agent-id", "hera")


def test_an_agent_to_ask_about_and_one_to_ask_as_are_told_apart(command: Command) -> None:
    command.ok("agent", "register", "hera", "--namespace", "acme")
    assert command.ok("agent", "get-current", "--agent-id", "athena", "--json").answer["agent_id"] == "athena"
    refused = command.run("agent", "deactivate", "hera", "--agent-id", "hera", "--json")
    assert (refused.code, refused.answer["error"]["code"]) == (4, "forbidden")
    command.ok("agent", "deactivate", "hera", "--agent-id", "athena")


def test_failures_have_the_exit_codes_of_their_kinds(command: Command) -> None:
    command.ok("agent", "register", "hera")
    for code, *words in (
        (3, "get", "nobody"),
        (1, "register", "hera"),
        (2, "register", "no good"),
        (2, "update", "hera"),
        (4, "deactivate", "default-agent"),
    ):
        assert command.run("agent", *map(str, words)).code == code, words


def test_the_family_is_imported_once(command: Command) -> None:
    dry = command.ok("agent", "import", "--profile", "trinitas", "--dry-run")
    assert "Would be registered 6" in dry.out
    assert listed(command) == []
    command.ok("agent", "import", "--profile", "trinitas")
    assert len(listed(command, "--namespace", "trinitas")) == SIX
    again = command.ok("agent", "import", "--profile", "trinitas", "--update", "--json").answer
    assert (len(again["known"]), again["registered"], again["updated"], again["refused"]) == (SIX, [], [], [])


def test_a_file_in_the_working_directory_has_to_be_named(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "custom_agents.json"
    path.write_text(json.dumps([{"agent_id": "one"}, {"agent_id": "two", "role": "admin"}]), encoding="utf-8")
    missing = command.run("agent", "import")
    assert (missing.code, "custom_agents.json" in missing.err) == (2, True)
    assert command.ok("agent", "import", "custom_agents.json", "--json").answer["registered"] == ["one", "two"]


@pytest.mark.parametrize("words", [["nowhere.json"], ["broken.json"], ["broken.json", "--profile", "trinitas"]])
def test_what_cannot_be_imported_is_refused_in_one_line(command: Command, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "broken.json").write_text('{"agents": [{"agent_id": "one", "role": "boss"}]}', encoding="utf-8")
    done = command.run("agent", "import", *words)
    assert done.code in {1, 2}
    assert len(done.err.splitlines()) == 1
    assert listed(command) == []


def test_an_import_on_free_fills_the_seat_and_names_the_tier(command: Command) -> None:
    free = command.using(**FREE_ONLY)
    done = free.run("agent", "import", "--profile", "trinitas", "--json")
    assert done.code == 1
    assert len(done.answer["registered"]) == 1
    assert len(done.answer["refused"]) == SIX - 1
    assert "FREE" in done.answer["refused"][0]["reason"]


def test_a_server_registers_the_agents_of_its_home_and_a_terminal_alone_does_not(home: Path) -> None:
    (home / "custom_agents.json").write_text('[{"agent_id": "one", "role": "admin"}]', encoding="utf-8")
    arguments = {"TMWS_MCP_TOOLSETS": "all", "TMWS_AGENT_ID": "one", "TMWS_AGENT_NAMESPACE": "default"}
    before = run_stdio(home, tool(1, "get_current_agent"), **arguments).content(1)
    assert (before["registered"], before["role"]) == (False, "agent")
    elsewhere = home.parent / "elsewhere"
    with http_server(elsewhere, TMWS_HOME=str(home)) as server:
        assert server.call("get_agent", agent_id="one").json()["agent"]["role"] == "admin"
        log = server.stop()
    assert log.count("Custom agents: 1 registered, 0 known") == 1


def test_a_server_starts_with_a_broken_file_in_its_directory_and_says_what_is_wrong(home: Path) -> None:
    (home / "custom_agents.json").write_text('[{"agent_id": "one", "capabilities": "all"}]', encoding="utf-8")
    with http_server(home) as server:
        assert server.call("list_agents").json()["agents"] == []
        assert "agents[0].capabilities" in server.stop()


def test_what_is_no_file_of_agents_is_refused_and_not_waited_for(command: Command, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        refused = command.run("agent", "import", str(path), "--json")
        assert (refused.code, refused.answer["error"]["field"]) == (2, "file")
        refused = command.run("memory", "create-batch", str(path), "--json")
        assert refused.answer["error"]["code"] == "invalid_argument"
    twice = tmp_path / "twice.json"
    twice.write_text('[{"agent_id": "hera", "agent_id": "zeus"}]')
    assert command.run("agent", "import", str(twice), "--json").answer["error"]["field"] == "agent_id"
    refused = command.run("memory", "create", "Text.", "--metadata", '{"a": 1, "a": 2}', "--json")
    assert refused.answer["error"]["field"] == "metadata.a"
