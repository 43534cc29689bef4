"""`tmws move`: from a file that an owner serves to a server, and back."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.postgres import PASSWORD, PostgresServer
from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.shells.serving import http_server

pytestmark = pytest.mark.embedded("the source is a file")


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as created:
        yield created


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Inside(tmp_path)


def test_a_store_moves_to_a_server_and_is_used_there(command: Command, url: str) -> None:
    kept = command.ok("memory", "create", "The rose blooms in June.", "--json").answer["memory_id"]
    command.ok("memory", "update", kept, "--content", "The rose blooms in July.")
    command.ok("audit", "sign")

    done = command.ok("move", "--to", url)

    assert "✅ Counts and checksums of 13 tables are equal on both sides." in done.out
    assert "memories_v2: 1, 1 written now" in done.out
    assert "Nothing was written to the source meanwhile." in done.out
    there = command.using(TMWS_DATABASE_URL=url)
    found = there.ok("memory", "get", kept, "--include-history", "--json").answer
    assert found["memory"]["content"] == "The rose blooms in July."
    assert [each["content"] for each in found["history"]] == ["The rose blooms in June."]
    assert there.ok("memory", "search", "roses", "--json").answer["results"][0]["memory_id"] == kept
    assert "its signed position is kept for the new place" in done.out
    there.ok("audit", "verify")


def test_a_log_that_was_not_proven_is_not_proven_by_a_move(command: Command, tmp_path: Path) -> None:
    def moved(name: str) -> tuple[Command, bool | None]:
        url = f"sqlite:///{tmp_path}/{name}.db"
        return command.using(TMWS_DATABASE_URL=url), command.ok("move", "--to", url, "--json").answer["audit_proven"]

    command.ok("memory", "create", "The rose blooms in June.")
    unsigned, proven = moved("unsigned")
    assert proven is None
    assert unsigned.run("audit", "verify", "--json").answer["doubt"] == "nothing_signed"

    command.ok("audit", "sign")
    with closing(sqlite3.connect(command.home / "tmws.db")) as connection, connection:
        connection.execute("UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = 1")
    changed, proven = moved("changed")
    assert proven is False
    assert changed.run("audit", "verify", "--json").answer["breach"]["id"] == 1
    assert list(json.loads((command.home / "audit-signed.json").read_text())) == ["tmws.db"]


def test_a_server_is_moved_while_it_serves_and_again_when_it_has_stopped(command: Command, url: str) -> None:
    with http_server(command.home) as server:
        one = server.client.post("/mcp/tools/create_memory", json={"content": "The rose blooms in June."}).json()
        command.ok("move", "--to", url, "--json")
        two = server.client.post("/mcp/tools/create_memory", json={"content": "The tulip blooms in April."}).json()
        server.stop()

    done = command.ok("move", "--to", url, "--json").answer

    assert done["settled"]
    assert done["tables"]["memories_v2"] == {**done["tables"]["memories_v2"], "rows": 2, "written": 1}
    found = command.using(TMWS_DATABASE_URL=url).ok("memory", "list", "--json").answer
    assert {each["memory_id"] for each in found["memories"]} == {one["memory_id"], two["memory_id"]}


def test_the_way_back_ends_in_a_file(command: Command, url: str, tmp_path: Path) -> None:
    command.ok("memory", "create", "The rose blooms in June.")
    there = command.ok("move", "--to", url, "--json").answer

    file = tmp_path / "back" / "tmws.db"
    back = command.ok("move", "--from", url, "--to", f"sqlite:///{file}", "--json").answer
    with closing(sqlite3.connect(file)) as connection, connection:
        # As an older version named the source.
        connection.execute("UPDATE moved_from SET source = ?", (f"postgresql://{url.partition('@')[2]}",))
    command.ok("move", "--from", url, "--to", f"sqlite:///{file}")

    assert back["tables"] == there["tables"]
    found = command.using(TMWS_HOME=str(tmp_path / "back")).ok("memory", "search", "roses", "--json").answer
    assert [each["content"] for each in found["results"]] == ["The rose blooms in June."]


def test_keys_open_the_new_store_as_well(command: Command, url: str) -> None:
    command.ok("agent", "register", "ada", "--namespace", "acme")
    token = command.ok("token", "issue", "--agent", "ada", "--json").answer["token"]
    command.ok("move", "--to", url)

    with http_server(command.home, TMWS_DATABASE_URL=url, TMWS_AUTH_ENABLED="true") as server:
        headers = {"Authorization": f"Bearer {token}"}
        answer = server.client.post("/mcp/tools/get_current_agent", json={}, headers=headers).json()

    assert answer["agent_id"] == "ada"


def test_an_occupied_target_is_a_wrong_option(command: Command, url: str) -> None:
    command.using(TMWS_DATABASE_URL=url).ok("memory", "create", "of somebody else")
    command.ok("memory", "create", "mine")

    done = command.run("move", "--to", url, "--json")

    assert done.code == 2
    assert done.answer["error"]["field"] == "--to"
    assert "memories_v2" in done.answer["error"]["message"]


def test_a_target_that_cannot_be_reached_is_unavailable_and_no_password_is_shown(command: Command) -> None:
    command.ok("memory", "create", "mine")
    nowhere = f"postgresql://tmws:{PASSWORD}@127.0.0.1:1/nothing"

    done = command.run("move", "--to", nowhere, "--json")

    assert done.code == 5
    assert "nobody listens" in json.dumps(done.answer)
    assert "--to" in done.answer["error"]["message"]
    assert PASSWORD not in done.out + done.err


def test_a_source_that_cannot_be_reached_is_told_by_its_option(command: Command, tmp_path: Path) -> None:
    nowhere = f"postgresql://tmws:{PASSWORD}@127.0.0.1:1/nothing"

    done = command.run("move", "--from", nowhere, "--to", f"sqlite:///{tmp_path}/new.db", "--json")

    assert done.code == 5
    assert "--from" in done.answer["error"]["message"]
    assert not (tmp_path / "new.db").exists()


def test_a_url_of_nothing_known_is_a_wrong_setting(command: Command) -> None:
    command.ok("memory", "create", "mine")

    done = command.run("move", "--to", "mysql://host/database", "--json")

    assert done.code == 2
    assert "mysql" in done.answer["error"]["message"]


def test_a_target_is_required(command: Command) -> None:
    assert command.run("move").code == 2
