"""`tmws db` as real processes, on a file and on a server."""

import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.migrations.places import REVISIONS, go, raw, write_future
from tests.servers.postgres import GUARDED, PASSWORD, PostgresServer
from tests.shells.command import Command, without_the_rights_of_root
from tests.shells.serving import http_server
from tmws_adapters.migrations import HEAD


@pytest.fixture(params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer]
) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "home" / "tmws.db")
    else:
        with postgres_if_asked().database("template0") as url:
            yield url


@pytest.fixture
def command(tmp_path: Path, place: str) -> Command:
    return Command(tmp_path).using(TMWS_DATABASE_URL=place if "://" in place else f"sqlite:///{place}", TMWS_PORT="0")


def is_file(place: str) -> bool:
    return "://" not in place


def test_an_empty_place_has_no_revision_and_looking_creates_none(command: Command, place: str) -> None:
    current = command.ok("db", "current", "--json").answer
    check = command.run("db", "check")
    integrity = command.run("db", "integrity", "--json")

    assert (current["revision"], current["head"], current["state"]) == (None, HEAD, "none")
    assert (check.code, "Run `tmws db upgrade`" in check.out) == (1, True)
    assert (integrity.code, integrity.answer["error"]["code"]) == (5, "storage_unavailable")
    assert not is_file(place) or not Path(place).exists()


def test_the_schema_is_made_looked_at_taken_back_and_made_again(command: Command, place: str) -> None:
    made = command.ok("db", "upgrade", "--json").answer
    command.ok("memory", "create", "The rose blooms in June.")
    current = command.ok("db", "current", "--json").answer
    back = command.ok("db", "downgrade")
    older = command.run("db", "check", "--json")
    again = command.ok("db", "upgrade")
    nothing = command.ok("db", "upgrade", "--json").answer
    found = command.ok("memory", "search", "rose", "--json").answer

    assert (made["before"], made["after"], made["backup"]) == (None, HEAD, None)
    assert (current["state"], current["dialect"]) == ("current", "sqlite" if is_file(place) else "postgresql")
    assert current["server"].split(".")[0].isdecimal()
    assert f"from revision {HEAD} to {REVISIONS[-2]}" in back.out
    assert "Install the older version now" in back.out
    assert ("The copy before:" in back.out) == is_file(place)
    assert f"db downgrade: changing the schema from revision {HEAD} back to {REVISIONS[-2]}" in back.err
    assert (older.code, older.answer["state"], older.answer["problems"]) == (1, "older", [])
    assert f"from revision {REVISIONS[-2]} to {HEAD}" in again.out
    assert (nothing["before"], nothing["after"]) == (HEAD, HEAD)
    assert [hit["content"] for hit in found["results"]] == ["The rose blooms in June."]


def test_a_sound_database_is_checked_read_vacuumed_and_analyzed(command: Command) -> None:
    command.ok("memory", "create", "one")

    assert command.ok("db", "check").out == f"✅ Revision {HEAD}, this version needs {HEAD}\n"
    assert command.ok("db", "check", "--json").answer["problems"] == []
    assert command.ok("db", "integrity", "--json").answer == {"success": True, "problems": [], "remedy": ""}
    vacuumed = command.ok("db", "vacuum", "--json")
    assert vacuumed.answer["bytes_before"] > 0
    assert "db vacuum: " in vacuumed.err
    assert command.ok("db", "analyze", "--json").answer == {"success": True}
    assert len(command.ok("memory", "list", "--json").answer["memories"]) == 1


def test_a_schema_changed_by_hand_is_told_with_what_should_be_there(command: Command, place: str) -> None:
    command.ok("db", "upgrade")
    with raw(place) as connection:
        connection.execute("DROP INDEX memories_v2_text")

    for_programs = command.run("db", "check", "--json")
    for_people = command.run("db", "check")

    assert (for_programs.code, for_programs.answer["success"]) == (1, False)
    (problem,) = for_programs.answer["problems"]
    assert problem["problem"] == "index memories_v2.memories_v2_text is missing"
    assert problem["found"] is None
    assert for_programs.answer["remedy"]
    assert for_people.code == 1
    assert "❌ index memories_v2.memories_v2_text is missing" in for_people.out
    assert "it should be: CREATE INDEX memories_v2_text ON" in for_people.out


def test_damage_is_told_with_its_remedy_and_ends_with_a_failure(command: Command, place: str) -> None:
    command.ok("memory", "create", "one")
    with raw(place) as connection:
        words = "memories_fts SET text = 'two'" if is_file(place) else "memory_words SET words = '{two}'"
        connection.execute(f"UPDATE {words}")
    wrong = command.run("db", "integrity", "--json")
    mended = command.ok("db", "reindex", "--json").answer
    with raw(place) as connection:
        connection.execute("DELETE FROM embeddings")

    done = command.run("db", "integrity", "--json")

    assert (wrong.code, len(wrong.answer["problems"]), mended["written"]) == (1, 1, 1)
    assert "Run `tmws db reindex`" in wrong.answer["remedy"]
    assert (done.code, done.answer["success"]) == (1, False)
    assert done.answer["problems"] == ["1 memories whose vector is missing"]
    assert "restore the last backup" in done.answer["remedy"]


def test_a_newer_schema_is_told_by_every_command_and_used_where_it_may_be(
    command: Command, place: str, tmp_path: Path
) -> None:
    command.ok("memory", "create", "The rose blooms in June.")
    future = tmp_path / "future"
    future.mkdir()
    go(place, "9001", future=write_future(future, HEAD, "9002"))
    usable = command.ok("db", "check", "--json").answer
    found = command.ok("memory", "search", "rose", "--json").answer
    kept = command.ok("db", "upgrade").out
    back = command.run("db", "downgrade", "--json")
    go(place, "9002", future=future)
    current = command.ok("db", "current").out
    refused = [command.run(*words, "--json") for words in (("db", "upgrade"), ("db", "check"), ("memory", "list"))]

    assert (usable["state"], usable["usable_from"]) == ("newer", HEAD)
    assert len(found["results"]) == 1
    assert "Nothing to do: the schema is of revision 9001" in kept
    assert (back.code, back.answer["error"]["code"]) == (1, "no_former_schema")
    assert "(unusable)" in current
    assert {(each.code, each.answer["error"]["code"]) for each in refused} == {(5, "schema_too_new")}
    assert "tmws db downgrade" in refused[0].answer["error"]["message"]


def test_a_database_that_is_served_is_not_downgraded(command: Command) -> None:
    command.ok("memory", "create", "one")
    with http_server(command.home, **command.env) as server:
        refused = command.run("db", "downgrade", "--json")
        looked = command.ok("db", "check", "--json").answer
        assert server.client.get("/health").status_code == 200

    assert (refused.code, refused.answer["error"]["code"]) == (5, "storage_busy")
    assert "try again" in refused.answer["error"]["message"]
    assert looked["success"]
    assert command.ok("db", "downgrade", "--json").answer["after"] == REVISIONS[-2]


def test_an_older_file_with_an_owner_is_not_upgraded_under_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    command = Command(tmp_path).using(TMWS_DATABASE_URL=f"sqlite:///{path}")
    go(str(path), "0004")
    (path.parent / "run").mkdir()
    with (path.parent / "run" / "tmws.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = command.run("db", "upgrade", "--json")

    assert (refused.code, refused.answer["error"]["code"]) == (5, "storage_busy")
    assert "serves the database" in refused.answer["error"]["message"]
    assert command.ok("db", "upgrade", "--json").answer["before"] == "0004"


def test_a_file_that_cannot_be_written_can_be_looked_at_but_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    go(str(path), "0004")
    path.chmod(0o400)
    command = without_the_rights_of_root(Command(tmp_path).using(TMWS_DATABASE_URL=f"sqlite:///{path}"))

    current = command.ok("db", "current", "--json").answer
    refused = command.run("db", "upgrade", "--json")

    assert (current["revision"], current["state"]) == ("0004", "older")
    assert (refused.code, refused.answer["error"]["code"]) == (5, "storage_read_only")
    assert "right to write" in refused.answer["error"]["message"]


@pytest.mark.parametrize("word", ["upgrade", "check"])
def test_a_wrong_url_is_one_error_that_names_the_setting(tmp_path: Path, word: str) -> None:
    done = Command(tmp_path).using(TMWS_DATABASE_URL="mysql://somewhere/tmws").run("db", word, "--json")

    assert (done.code, done.answer["error"]["code"]) == (2, "configuration")
    assert "TMWS_DATABASE_URL" in done.answer["error"]["message"]


@pytest.mark.parametrize("word", ["upgrade", "current"])
def test_a_server_that_refuses_is_told_without_the_password(
    tmp_path: Path, postgres: PostgresServer, word: str
) -> None:
    url = postgres.url("postgres", user=GUARDED, password="wrong-secret")

    done = Command(tmp_path).using(TMWS_DATABASE_URL=url, TMWS_LOG_LEVEL="DEBUG").run("db", word, "--json")

    assert done.code == 5
    assert "refused the user or its password" in done.answer["error"]["message"]
    assert "wrong-secret" not in done.out + done.err


def test_a_user_without_rights_to_the_database_is_told_so(tmp_path: Path, postgres: PostgresServer) -> None:
    with postgres.database("template0") as url:
        name = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
        other = postgres.url(name, user=GUARDED, password=PASSWORD)
        done = Command(tmp_path).using(TMWS_DATABASE_URL=other).run("db", "upgrade", "--json")

    assert (done.code, done.answer["error"]["code"]) == (5, "storage_read_only")
    assert "lacks a right" in json.dumps(done.answer)
