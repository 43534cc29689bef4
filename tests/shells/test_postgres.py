"""PostgreSQL behind the shells: commands, terminals and several servers side by side on one database."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres import GUARDED, PASSWORD, PostgresServer
from tests.shells.command import Command
from tests.shells.inside import Inside
from tests.shells.serving import http_server, request, run_stdio, tool
from tmws_adapters.local.place import place_at_once
from tmws_adapters.local.record import Record
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError
from tmws_mcp.terminals import check_alike

HELLO = request(
    1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"}
)


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database("template0") as created:
        yield created


@pytest.fixture
def command(tmp_path: Path, url: str) -> Command:
    return Inside(tmp_path).using(TMWS_DATABASE_URL=url)


def test_a_command_makes_the_schema_and_the_next_one_finds_what_it_stored(command: Command) -> None:
    command.ok("memory", "create", "The rose blooms in June.")

    found = command.ok("memory", "search", "roses", "--json").answer

    assert [hit["content"] for hit in found["results"]] == ["The rose blooms in June."]
    assert found["search_source"] == "pgvector"
    assert not (command.home / "tmws.db").exists()


def test_a_command_says_nothing_of_what_it_gives_up_when_it_ends(tmp_path: Path, url: str) -> None:
    command = Command(tmp_path).using(TMWS_DATABASE_URL=url)
    command.ok("agent", "register", "athena")
    issued = command.ok("token", "issue", "--agent", "athena")
    assert issued.err.startswith("athena's, shown only now")
    assert len(issued.err.splitlines()) == 1


def test_doctor_looks_at_the_database_and_shows_no_password(command: Command, url: str) -> None:
    command.ok("memory", "create", "one")
    secret = url.replace("@", f":{PASSWORD}@", 1)

    done = command.using(TMWS_DATABASE_URL=secret, TMWS_PORT="0").ok("doctor", "--deep", "--json")

    checks = {check["name"]: check for check in done.answer["checks"]}
    assert checks["database"]["detail"].startswith("postgresql://tmws_worker@127.0.0.1:")
    assert checks["integrity"]["state"] == "ok"
    assert PASSWORD not in done.out + done.err


def test_doctor_and_health_warn_of_a_role_that_row_level_security_does_not_hold_for(
    command: Command, postgres: PostgresServer, url: str
) -> None:
    superuser = postgres.superuser_url(url.rpartition("/")[2])

    done = command.using(TMWS_DATABASE_URL=superuser, TMWS_PORT="0").ok("doctor", "--json")
    with http_server(command.home, TMWS_DATABASE_URL=superuser) as server:
        health = server.client.get("/health").json()

    check = next(check for check in done.answer["checks"] if check["name"] == "row security")
    assert check["state"] == "warning"
    assert "CREATE ROLE" in check["remedy"]
    assert health["status"] == "healthy"
    assert "superuser" in health["components"]["postgresql"]["note"]


def test_a_wrong_password_is_one_error_with_a_remedy(command: Command, postgres: PostgresServer) -> None:
    wrong = postgres.url("postgres", user=GUARDED, password="wrong-secret")

    done = command.using(TMWS_DATABASE_URL=wrong).run("memory", "search", "anything", "--json")

    assert done.code != 0
    assert "refused the user or its password" in json.dumps(done.answer)
    assert "wrong-secret" not in done.out + done.err


def test_terminals_share_a_helper_that_stores_in_the_database(command: Command, home: Path, url: str) -> None:
    command.ok("memory", "create", "The rose blooms in June.")

    done = run_stdio(home, HELLO, tool(2, "search_memories", query="rose"), TMWS_DATABASE_URL=url)

    assert [hit["content"] for hit in done.content(2)["results"]] == ["The rose blooms in June."]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://tmws:secret@db.example.com:5432/tmws?sslmode=require",
        "postgres://db.example.com/tmws",
        "postgresql://one:1,two:2/tmws?target_session_attrs=read-write",
        "postgresql:///tmws?host=/run/postgresql",
        "postgresql://a:b#c?d@e/f",
        "postgresql://",
    ],
)
def test_terminals_find_the_helper_without_the_settings(tmp_path: Path, url: str) -> None:
    variables = {"TMWS_HOME": str(tmp_path), "TMWS_DATABASE_URL": url}
    place = place_at_once(variables)

    assert place is not None
    assert place.database == str(load_settings(variables, dotenv=None).place)
    assert "secret" not in place.database


@pytest.mark.parametrize(
    ("url", "libpq"),
    [
        ("postgresql://ada@db/other", {}),
        ("postgresql://ada@db/tmws?host=elsewhere", {}),
        ("postgresql://ada@db/tmws", {"port": "6432"}),
        ("postgresql://ada@db/tmws", {"options": "-csearch_path=team_a"}),
        ("postgresql://ada@db/%zz", {}),
        ("", {}),
    ],
)
def test_a_helper_refuses_a_terminal_of_another_database(url: str, libpq: dict[str, str]) -> None:
    settings = load_settings({"TMWS_DATABASE_URL": "postgresql://ada:secret@db/tmws"}, dotenv=None)
    record = Record(pid=1, port=1, secret="", version="", kind="owner")

    def check(url: str, libpq: dict[str, str]) -> None:
        given = {"TMWS_DATABASE_URL": url}
        wants = {"settings": given, "complete": True, "libpq": libpq}
        check_alike(wants, load_settings(given, dotenv=None), settings, record)

    check("postgres://ada:other@db/tmws?sslmode=require", {"login": "bob"})
    with pytest.raises(ConfigurationError, match="TMWS_DATABASE_URL"):
        check(url, libpq)


def test_servers_side_by_side_find_what_the_others_stored(tmp_path: Path, url: str) -> None:
    home = tmp_path / "home"
    with http_server(home, TMWS_DATABASE_URL=url) as one, http_server(home, TMWS_DATABASE_URL=url) as other:
        stored = one.client.post("/mcp/tools/create_memory", json={"content": "The rose blooms in June."}).json()
        found = other.client.post("/mcp/tools/search_memories", json={"query": "rose"}).json()
        health = other.client.get("/health").json()

    assert [hit["memory_id"] for hit in found["results"]] == [stored["memory_id"]]
    assert health["components"]["postgresql"]["status"] == "up"
    assert health["components"]["pgvector"]["status"] == "up"


@pytest.mark.embedded("there is no PostgreSQL")
def test_pgvector_without_postgresql_is_refused(tmp_path: Path) -> None:
    done = Inside(tmp_path).using(TMWS_VECTOR_BACKEND="pgvector").run("memory", "search", "anything", "--json")

    assert done.code != 0
    assert "pgvector needs PostgreSQL" in json.dumps(done.answer)
