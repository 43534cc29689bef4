"""A PostgreSQL server with a streaming replica, each of which can be killed, paused or promoted."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.servers.postgres import ATTEMPTS, TEMPLATE, WORKER, PostgresServer, free_port, own_server, room, run_program

REVIVAL = 20.0
PAUSE = 0.1

SYNCHRONOUS = "ALTER SYSTEM SET synchronous_standby_names = '*'"
"""A commit waits until a replica has it, so that no acknowledged one is lost with the primary."""


@attrs.define
class Replica(PostgresServer):
    """A server that follows another one."""

    def promote(self) -> None:
        """Make it a primary, and wait until it is one."""
        self._control("promote")

    def pause(self) -> None:
        """Let it receive what the primary writes, and not apply it."""
        self.execute(sql.SQL("SELECT pg_wal_replay_pause()"))

    def resume(self) -> None:
        """Let it apply what it received."""
        self.execute(sql.SQL("SELECT pg_wal_replay_resume()"))


@attrs.frozen
class Pair:
    """A primary and its replica."""

    primary: PostgresServer
    replica: Replica

    def url(self, database_url: str) -> str:
        """Return the URL of a database at whichever of the two is the primary."""
        name = conninfo_to_dict(database_url)["dbname"]
        hosts = ",".join(f"127.0.0.1:{port_of(each)}" for each in (self.primary, self.replica))
        return f"postgresql://{conninfo_to_dict(database_url)['user']}@{hosts}/{name}?target_session_attrs=read-write"

    def replica_url(self, database_url: str) -> str:
        """Return the URL of a database at the replica."""
        return self.replica.url(str(conninfo_to_dict(database_url)["dbname"]))

    def create(self, name: str) -> str:
        """Create a database that stays as long as the servers, and return its URL at the primary."""
        names = sql.Identifier(name), sql.Identifier(TEMPLATE), sql.Identifier(WORKER)
        self.primary.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))
        return self.primary.url(name)

    def commit_on_both(self) -> None:
        """Acknowledge from now on only what the replica has as well."""
        self.primary.execute(sql.SQL(SYNCHRONOUS))
        self.primary.execute(sql.SQL("SELECT pg_reload_conf()"))


@contextmanager
def pair(**settings: str) -> Iterator[Pair]:
    """Yield a primary and its replica that nobody else uses; they take more settings than other servers."""
    # A replica that was away for a moment finds what it missed: it asks from the beginning of a file of the log.
    with own_server(room(), wal_keep_size="128MB", **settings) as primary, replica_of(primary) as replica:
        try:
            yield Pair(primary, replica)
        finally:
            revive(primary)
            revive(replica)


@contextmanager
def replica_of(primary: PostgresServer) -> Iterator[Replica]:
    """Yield a replica of a server, which it ends and deletes."""
    assert primary.directory is not None
    access = primary.directory / "data" / "pg_hba.conf"
    if "replication" not in access.read_text():
        access.write_text(f"{access.read_text()}\nhost replication all 127.0.0.1/32 trust\n")
        primary.execute(sql.SQL("SELECT pg_reload_conf()"))
    directory = Path(tempfile.mkdtemp(prefix="tmws-replica-", dir=room()))
    if os.geteuid() == 0:
        shutil.chown(directory, "nobody")
    source = ("-h", "127.0.0.1", "-p", port_of(primary), "-U", "tmws")
    try:
        run_program(directory, "pg_basebackup", *source, "-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync")
        replica = _started(directory)
        try:
            yield replica
        finally:
            replica.stop()
    finally:
        shutil.rmtree(directory)


def _started(directory: Path) -> Replica:
    file = directory / "data" / "postgresql.conf"
    configuration = file.read_text()
    for _ in range(ATTEMPTS):
        port = free_port()
        file.write_text(f"{configuration}\nport = {port}\n")
        replica = Replica(f"host=127.0.0.1 port={port} user=tmws dbname=postgres", directory)
        try:
            replica.start()
        except subprocess.CalledProcessError:
            continue
        return replica
    raise RuntimeError((directory / "log").read_text())


def kill(server: PostgresServer) -> None:
    """End a server as the loss of its machine does: it says and writes nothing more."""
    assert server.directory is not None
    pid = int((server.directory / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    # It cannot clean up behind its children, nor start others in their place.
    os.kill(pid, signal.SIGSTOP)
    for each in [*map(int, children), pid]:
        os.kill(each, signal.SIGKILL)


def revive(server: PostgresServer) -> None:
    """Start a server unless it runs; what is left of one that was killed disappears within a second or two."""
    end = time.monotonic() + REVIVAL
    while not _answers(server):
        try:
            server.start()
        except subprocess.CalledProcessError:
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE)


def _answers(server: PostgresServer) -> bool:
    try:
        with psycopg.connect(server.dsn):
            return True
    except psycopg.OperationalError:
        return False


def port_of(server: PostgresServer) -> str:
    return str(conninfo_to_dict(server.dsn)["port"])
