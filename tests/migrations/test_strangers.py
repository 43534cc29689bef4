"""Databases of other programs are refused, and nothing is done to them."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.contracts.stores import open_at
from tests.migrations.places import go, is_server, upgraded, upkeep
from tests.migrations.test_sqlite import alembic
from tests.servers.postgres import PostgresServer, behind
from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.belonging import OWN, UNCLAIMED
from tmws_adapters.migrations.runner import known
from tmws_adapters.sqlite import open_sqlite
from tmws_core.errors import SchemaDirty, StorageCorrupt, StorageUnavailable

pytestmark = pytest.mark.anyio

FOREIGN = {
    "one table": ("CREATE TABLE bookmarks (url text)",),
    "memories": ("CREATE TABLE memories (id text)", "INSERT INTO memories VALUES ('kept')"),
    "its own revision": (
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('ae1027a6acf')",
        "CREATE TABLE users (id text)",
    ),
    "a revision like ours": (
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
        f"INSERT INTO alembic_version VALUES ('{HEAD}')",
        "CREATE TABLE memories_v2 (id text)",
    ),
    "nothing but a revision": (
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
        f"INSERT INTO alembic_version VALUES ('{HEAD}')",
    ),
    "all names of ours": (
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('0003')",
        *(f"CREATE TABLE {name} (a text)" for name in OWN),
        "INSERT INTO agents VALUES ('other program')",
    ),
    "all names of ours, marked": (
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
        f"INSERT INTO alembic_version VALUES ('{HEAD}')",
        *(f"CREATE TABLE {name} (id text)" for name in sorted(UNCLAIMED - {"alembic_version"} | OWN.keys())),
    ),
    "a view": ("CREATE VIEW answers AS SELECT 42 AS answer",),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "home" / "theirs.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database("template0") as url:
        yield url


def fill(place: str, statements: tuple[str, ...], mode: str = "DELETE") -> None:
    if is_server(place):
        with behind(place) as server:
            for statement in statements:
                server.execute(statement.encode())
        return
    Path(place).parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        for statement in statements:
            connection.execute(statement)


def contents(place: str) -> object:
    """Return what could change: all bytes of a directory, or the tables of a database."""
    if not is_server(place):
        return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in Path(place).parent.iterdir()}
    with psycopg.connect(place) as server:
        return server.execute("SELECT relname FROM pg_class WHERE relnamespace >= 2200 ORDER BY 1").fetchall()


@pytest.mark.parametrize("name", FOREIGN)
async def test_another_programs_database_is_refused_and_left_as_it_is(place: str, name: str) -> None:
    fill(place, FOREIGN[name])
    before = contents(place)

    with pytest.raises(SchemaDirty, match="another program") as raised:
        async with open_at(place):
            pass
    assert "TMWS_DATABASE_URL" in raised.value.remedy
    works: list[Callable[[], object]] = [
        lambda: upgraded(place),
        upkeep(place).standing,
        lambda: upkeep(place).upgrade(print),
    ]
    for work in works:
        with pytest.raises(SchemaDirty):
            work()

    assert contents(place) == before


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_file_in_its_modern_mode_gets_nothing_put_beside_it(tmp_path: Path, name: str) -> None:
    place = str(tmp_path / "home" / "theirs.db")
    fill(place, FOREIGN[name], "WAL")
    before = contents(place)

    with pytest.raises(SchemaDirty):
        async with open_at(place):
            pass
    with pytest.raises(SchemaDirty):
        upkeep(place).vacuum(print)
    with pytest.raises(SchemaDirty):
        upkeep(place).analyze(print)
    assert alembic(Path(place), "upgrade", "head").returncode != 0

    assert contents(place) == before


async def test_a_file_whose_tables_are_still_in_its_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as theirs:
        theirs.execute("PRAGMA journal_mode = WAL")
        theirs.execute("CREATE TABLE bookmarks (url text)")
        with pytest.raises(SchemaDirty, match="bookmarks"):
            async with open_sqlite(path):
                pass
        theirs.execute("INSERT INTO bookmarks VALUES ('x')")


def empty(path: Path) -> None:
    path.touch()


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("VACUUM")


@pytest.mark.parametrize("make", [empty, without_tables])
async def test_an_empty_file_becomes_a_store(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "tmws.db")

    async with open_sqlite(tmp_path / "tmws.db") as store:
        assert (await store.storage.health()).version == HEAD


@pytest.mark.parametrize("revision", known())
async def test_a_store_of_every_revision_is_ours_with_tables_of_its_user_beside(place: str, revision: str) -> None:
    if not is_server(place):
        Path(place).parent.mkdir()
    go(place, revision)
    fill(place, ("CREATE TABLE notes_of_mine (text text)",))

    async with open_at(place) as store:
        assert (await store.storage.health()).version == HEAD


def directory(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [directory, pipe, device])
async def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "tmws.db")

    with pytest.raises(StorageUnavailable, match="is no file"):
        async with open_sqlite(tmp_path / "tmws.db"):
            pass
    with pytest.raises(StorageUnavailable, match="is no file"):
        upkeep(str(tmp_path / "tmws.db")).upgrade(print)


@pytest.mark.parametrize("content", [b"notes, not a database " * 99, b"\0" * 4096, b"SQLite format 3\0" + b"x" * 999])
async def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tmws.db"
    path.write_bytes(content)
    before = contents(str(path))

    with pytest.raises(StorageCorrupt):
        async with open_sqlite(path):
            pass

    assert contents(str(path)) == before
