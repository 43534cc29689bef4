"""What stands behind the tests: files, or with TEST_STACK=production a PostgreSQL and a Redis server.

Whatever names a data directory goes through `stacked`: in the production stack each has a database of its own.
"""

import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import psycopg

from tests.servers.postgres import TEMPLATE, PostgresServer, behind
from tests.servers.redis import PASSWORD, QUOTED, RedisProcess, redis_process
from tmws_adapters.settings import Settings, load_settings

STACK = os.environ.get("TEST_STACK", "embedded")
if STACK not in ("embedded", "production"):
    raise ValueError(f"TEST_STACK={STACK}: it is embedded or production")
PRODUCTION = STACK == "production"

STORE = "postgresql" if PRODUCTION else "sqlite"
SOURCE = "pgvector" if PRODUCTION else "exact"
FALLBACK = f"{STORE}_fallback"
"""The names of the store, of what searches its vectors, and the `search_source` where something is missing."""

WORDS = ("memory_words", "memory_postings") if PRODUCTION else ("memories_fts",)
CHANGES = "memory_changes" if PRODUCTION else "document_numbers"
"""The tables with the words of the memories, and with the number of their changes."""

VECTORS = "SELECT count(*) FROM embeddings WHERE model = (SELECT id FROM embedding_models WHERE active)"
"""How many vectors there are of the active model, beside which a database may keep those of others."""

DATABASES = 10_000
"""Databases of a Redis server, one for each data directory of one worker's tests."""


@attrs.define
class Servers:
    """The servers of the production stack, and the databases of the data directories."""

    postgres: PostgresServer
    redis: RedisProcess
    _numbers: Iterator[int] = attrs.field(factory=lambda: count(1))
    _homes: dict[Path, tuple[dict[str, str], ExitStack]] = attrs.field(factory=dict)
    _lock: threading.RLock = attrs.field(factory=threading.RLock)

    def of(self, home: Path, former: Path | None = None) -> dict[str, str]:
        """Return the settings that name the databases of a data directory.

        The first time they are empty, or what the closed database of a `former` directory is.
        """
        home = home.resolve()
        # Tests start several clients of one directory at the same time.
        with self._lock:
            if home not in self._homes:
                stack = ExitStack()
                template = urlsplit(self.of(former)["TMWS_DATABASE_URL"]).path[1:] if former else TEMPLATE
                url = stack.enter_context(self.postgres.database(template, extended=False))
                redis = f"redis://:{QUOTED}@{self.redis.where}/{next(self._numbers)}"
                self._homes[home] = {"TMWS_DATABASE_URL": url, "TMWS_REDIS_URL": redis}, stack
            return self._homes[home][0]

    def forget(self, directory: Path) -> None:
        """Drop the databases of all data directories in this one."""
        for home in [home for home in self._homes if home.is_relative_to(directory.resolve())]:
            self._homes.pop(home)[1].close()


_running: list[Servers] = []


@contextmanager
def production(postgres: PostgresServer) -> Iterator[Servers]:
    """Let `stacked` name the servers of the production stack for the block."""
    with redis_process({"requirepass": PASSWORD, "databases": DATABASES}) as redis:
        _running.append(Servers(postgres, redis))
        try:
            yield _running[0]
        finally:
            _running.pop().forget(Path("/"))


def stacked(variables: Mapping[str, str]) -> dict[str, str]:
    """Return settings with the servers of their data directory, where they do not name a database themselves."""
    if not _running or "TMWS_DATABASE_URL" in variables:
        return dict(variables)
    # What a process keeps for itself, such as the requests in flight, is tested with one; tests of several say so.
    return {**_running[0].of(Path(variables["TMWS_HOME"])), "TMWS_MAX_WORKERS": "1", **variables}


def copy_store(former: Path, home: Path) -> None:
    """Copy the store of a data directory, which nobody has open, to another directory."""
    if _running:
        _running[0].of(home, former)
    else:
        shutil.copy(former / "tmws.db", home)


def forget_stores(directory: Path) -> None:
    """Drop the databases of all data directories in this one, which nobody uses any more."""
    if _running:
        _running[0].forget(directory)


def settings_in(home: Path) -> Settings:
    """Return the settings of the store of a data directory, and no others."""
    return load_settings(stacked({"TMWS_HOME": str(home)}), dotenv=None)


def rows(settings: Settings, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the database of a store, behind the back of the program; values stand for the `?`."""
    with behind_the_back(settings) as execute:
        return execute(sql, *values)


def change(settings: Settings, sql: str, *values: object) -> None:
    """Change the database of a store, behind the back of the program."""
    with behind_the_back(settings) as execute:
        execute(sql, *values)


@contextmanager
def behind_the_back(settings: Settings) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Yield what runs statements in one transaction, and returns the rows that they find."""
    if settings.uses_postgres:
        with behind(settings.database_url) as server:

            def execute(sql: str, *values: object) -> list[tuple[Any, ...]]:
                done = server.execute(_translated(sql), values or None)
                return done.fetchall() if done.description else []

            yield execute
    else:
        with closing(sqlite3.connect(settings.sqlite_path)) as connection, connection:
            yield lambda sql, *values: connection.execute(sql, values).fetchall()


def dumped(settings: Settings) -> bytes:
    """Return all that the store keeps, as it would be read by a thief."""
    if not settings.uses_postgres:
        return b"".join(path.read_bytes() for path in settings.home.glob("tmws.db*"))
    tables = rows(settings, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    values = [value for (table,) in tables for row in rows(settings, f"SELECT * FROM {table}") for value in row]
    return b" ".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def refuse_rows(settings: Settings, table: str) -> None:
    """Let the database take no new row of a table."""
    if settings.uses_postgres:
        change(settings, f"ALTER TABLE {table} ADD CONSTRAINT no_rows CHECK (false) NOT VALID")
    else:
        change(settings, f"CREATE TRIGGER no_{table} BEFORE INSERT ON {table} BEGIN SELECT raise(ABORT, 'full'); END")


@contextmanager
def locked(settings: Settings, *tables: str) -> Iterator[None]:
    """Let nobody write to these tables for the block, and in a file to none."""
    if settings.uses_postgres:
        with psycopg.connect(settings.database_url) as server:
            server.execute(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE".encode())
            yield
            server.rollback()
        return
    with closing(sqlite3.connect(settings.sqlite_path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def _translated(sql: str) -> bytes:
    """Return what SQLite's tests mean in the SQL of PostgreSQL."""
    sql = re.sub(r"zeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", sql.replace("x''", "''::bytea"))
    return sql.replace("?", "%s").encode()
