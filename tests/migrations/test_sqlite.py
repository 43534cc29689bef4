"""The schema's history on SQLite: from nothing, from the command line, and when it fails."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.migrations.former import fill
from tests.migrations.places import differences, go, raw, upgraded
from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.connecting import configured_path
from tmws_adapters.migrations.runner import newest, scripts, upgrade
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError, SchemaDirty, SchemaTooNew

ROOT = Path(__file__).parents[2]


def schema(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}


def alembic(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"TMWS_DATABASE_URL": f"sqlite+aiosqlite:///{path}"}
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_newest_revision_is_the_one_that_opening_expects() -> None:
    assert newest() == HEAD


@pytest.mark.parametrize(
    ("table", "rule", "left"),
    [("security_audit_logs", ") STRICT", ")"), ("agents", "CHECK (active IN (0, 1))", "")],
)
def test_a_rule_of_a_table_that_was_taken_away_is_found(tmp_path: Path, table: str, rule: str, left: str) -> None:
    place = str(tmp_path / "tmws.db")
    upgraded(place)
    with raw(place) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = ?", (rule, left, table))

    assert [each.problem for each in differences(place)] == [f"table {table} is not as it should be"]


def test_every_table_of_the_specification_is_created(tmp_path: Path) -> None:
    upgrade(tmp_path / "tmws.db")

    assert schema(tmp_path / "tmws.db") >= {
        "agents",
        "memories_v2",
        "memory_history",
        "memory_shares",
        "embeddings",
        "embedding_models",
        "security_audit_logs",
        "alembic_version",
    }


def test_an_upgrade_of_the_newest_schema_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    upgrade(path)
    before = path.read_bytes()

    upgrade(path)

    assert path.read_bytes() == before


def test_a_failed_upgrade_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    go(str(path), "0003")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE audit_head (somebody TEXT)")
    before = schema(path)

    with pytest.raises(SchemaDirty, match="table audit_head already exists") as raised:
        upgrade(path)

    assert "tmws db check" in raised.value.remedy
    assert schema(path) == before


def test_former_texts_are_counted_in_one_pass_however_many_agents_there_are(tmp_path: Path) -> None:
    path, agents, steps = tmp_path / "tmws.db", 200, [0]
    go(str(path), "0004")
    fill(str(path), "0004")
    go(str(path), "0009")
    with closing(sqlite3.connect(path)) as connection:
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(memories_v2)")]
        values = ["n", "'id' || n", f"'agent' || (n % {agents})", *names[3:]]
        connection.execute(
            f"""
            WITH RECURSIVE numbers (n) AS (SELECT 9 UNION ALL SELECT n + 1 FROM numbers WHERE n < {10 * agents})
            INSERT INTO memories_v2 SELECT {", ".join(values)} FROM numbers, memories_v2
            """
        )
        connection.execute(
            "INSERT OR IGNORE INTO memory_history SELECT id, 1, content, created_at, created_at, 'ada' FROM memories_v2"
        )
        (count,) = connection.execute("SELECT count(*) FROM memory_history").fetchone()
        connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 100)
        connection.execute(scripts().get_revision("0010").module.STATEMENTS["sqlite"][0])
        connection.rollback()
    assert names[:3] == ["document", "id", "agent_id"]
    assert count > 9 * agents
    assert 100 * steps[0] < 100 * count


def test_an_unknown_revision_is_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaTooNew):
        upgrade(path)


def test_the_alembic_command_creates_and_names_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"

    upgraded = alembic(path, "upgrade", "head")
    current = alembic(path, "current")

    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    assert current.stdout.split() == [HEAD, "(head)"]
    assert "memories_v2" in schema(path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////app/data/tmws.db", "/app/data/tmws.db"),
        ("sqlite+aiosqlite:////app/data/tmws.db", "/app/data/tmws.db"),
        ("sqlite:///data/tmws.db", "data/tmws.db"),
        ("sqlite:////with%20space/tmws.db", "/with%20space/tmws.db"),
        ("SQLite:////app/tmws.db?mode=rw&cache=shared ", "/app/tmws.db"),
        ("sqlite:///~/tmws.db", str(Path.home() / "tmws.db")),
        ("sqlite:////app/tmws.db?b", None),
        ("sqlite:////app/team#1.db", None),
        ("sqlite:////app/tmws.db?b=c#d", None),
        ("sqlite:////${HOME}/tmws.db", None),
        ("sqlite://host/x.db", None),
        ("sqlite:///", None),
        ("tmws.db", None),
    ],
)
def test_the_url_names_the_file_that_the_program_uses(
    monkeypatch: pytest.MonkeyPatch, url: str, path: str | None
) -> None:
    monkeypatch.setenv("TMWS_DATABASE_URL", url)

    if path is None:
        with pytest.raises(ConfigurationError, match="TMWS_DATABASE_URL"):
            configured_path()
        with pytest.raises(ConfigurationError, match="TMWS_DATABASE_URL"):
            _ = load_settings(dotenv=None).sqlite_path
    else:
        assert configured_path() == load_settings(dotenv=None).sqlite_path == Path(path)


def test_without_a_url_the_file_lies_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TMWS_DATABASE_URL", raising=False)
    monkeypatch.setenv("TMWS_HOME", str(tmp_path))
    assert configured_path() == tmp_path / "tmws.db"

    monkeypatch.delenv("TMWS_HOME")
    assert configured_path() == Path.home() / ".tmws" / "tmws.db"


def test_a_store_of_the_first_schema_is_upgraded_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    assert alembic(path, "upgrade", "0001").returncode == 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE document_numbers SET last = 7, changes = 9")

    upgrade(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT last, changes, edits FROM document_numbers").fetchall() == [(7, 9, 0)]


def test_the_second_revision_can_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    assert alembic(path, "upgrade", "0002").returncode == 0
    newest_schema, newest_columns = schema(path), columns(path, "document_numbers")

    assert alembic(path, "downgrade", "-1").returncode == 0
    former_schema, former_columns = schema(path), columns(path, "document_numbers")
    assert alembic(path, "upgrade", "0002").returncode == 0

    assert newest_schema - former_schema == {"memory_uses"}
    assert newest_columns - former_columns == {"edits"}
    assert schema(path) == newest_schema
    assert columns(path, "document_numbers") == newest_columns


def columns(path: Path, table: str) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
