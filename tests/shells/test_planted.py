"""What somebody has put into the data directory is refused with a sentence, and nothing waits for it."""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.owners import place_in
from tests.shells.serving import request
from tests.shells.test_doctor import check_named, free_port

REQUEST = request(1, "ping")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    command = Command(tmp_path).using(TMWS_PORT=free_port(), TMWS_SECRET_KEY="")
    command.home.mkdir(mode=0o700)
    return command


def pipe_at(path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("name", ["log", "lock"])
def test_a_pipe_among_the_files_of_the_owner_is_refused_with_a_remedy(command: Command, name: str) -> None:
    pipe = pipe_at(getattr(place_in(command.home), name))

    done = command.run(stdin=REQUEST)

    assert f"{pipe} is no regular file. Remove it" in done.out + done.err
    doctor = command.run("doctor", "--json")
    assert check_named(doctor, "owner process")["state"] == "broken"
    assert str(pipe) in check_named(doctor, "owner process")["detail"]
    assert check_named(doctor, "owner process")["remedy"] == "Remove it"


def test_a_pipe_in_the_place_of_the_record_gives_way_to_the_owners(command: Command) -> None:
    pipe_at(place_in(command.home).record)

    assert '"result"' in command.ok(stdin=REQUEST).out


@pytest.mark.embedded("files of SQLite")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_what_is_no_file_beside_the_database_is_refused_with_a_remedy(
    command: Command, suffix: str, make: Callable[[Path], None]
) -> None:
    command.ok("add", "first")
    planted = command.home / f"tmws.db{suffix}"
    make(planted)

    done = command.run("add", "second")
    doctor = command.run("doctor", "--json")

    assert done.code == 5
    assert f"{planted}, which is SQLite's, is no regular file" in done.err
    assert str(planted) in check_named(doctor, "database")["detail"]
    assert "Remove it" in check_named(doctor, "database")["remedy"]


def test_a_pipe_in_the_place_of_the_secret_is_refused_with_a_remedy(command: Command) -> None:
    pipe = pipe_at(command.home / "secret_key")

    done = command.run("token", "issue", "--agent", "ada", "--kind", "jwt")

    assert done.code == 2
    assert f"{pipe} is no regular file" in done.err
    doctor = command.run("doctor", "--json")
    assert check_named(doctor, "secret key")["state"] == "broken"
    assert "Remove it" in check_named(doctor, "secret key")["remedy"]


def test_the_doctor_names_signed_positions_that_are_not_believed(command: Command) -> None:
    pipe_at(command.home / "audit-signed.json")

    doctor = command.run("doctor", "--json")

    assert check_named(doctor, "signed positions")["state"] == "warning"
    assert "is no regular file" in check_named(doctor, "signed positions")["detail"]


@pytest.mark.embedded("a file becomes the store")
def test_a_file_without_tables_becomes_private_with_the_store(command: Command) -> None:
    file = command.home / "tmws.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE passing (word TEXT)")
        connection.execute("DROP TABLE passing")
        for each in command.home.iterdir():
            each.chmod(0o644)

        command.ok("memory", "create", "one")

        found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in command.home.glob("tmws.db*")}
    assert found.keys() >= {"tmws.db", "tmws.db-wal", "tmws.db-shm"}
    assert set(found.values()) == {0o600}
