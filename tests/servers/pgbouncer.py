"""PgBouncer before a PostgreSQL server: each transaction may meet another connection, and clients may need TLS."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.servers.certificates import Certificates
from tests.servers.postgres import PostgresServer, free_port

PATIENCE = 10.0
"""Seconds in which it has to answer."""


@contextmanager
def pgbouncer(
    server: PostgresServer,
    certificates: Certificates | None = None,
    connections: int = 3,
    *,
    behind: int | None = None,
) -> Iterator[int]:
    """Yield the port of one that shares so few connections among all clients of a database.

    The server is reached at the port `behind`, if that is given.
    """
    program = _program()
    directory = Path(tempfile.mkdtemp(prefix="tmws-pgbouncer-"))
    port = free_port()
    (directory / "users").write_text("".join(f'"{user}" ""\n' for user in ("tmws", "tmws_worker")))
    (directory / "pgbouncer.ini").write_text(_settings(server, port, connections, certificates, behind))
    if certificates is not None:
        for each in (certificates.authority, certificates.certificate, certificates.key):
            shutil.copy(each, directory)
    if os.geteuid() == 0:
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, "nobody")
    identity = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    with (directory / "log").open("w") as log:
        process = subprocess.Popen([program, "pgbouncer.ini"], cwd=directory, stdout=log, stderr=log, **identity)  # type: ignore[call-overload]  # a dict of keywords
    try:
        _wait(port, directory)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)
        shutil.rmtree(directory)


def _program() -> str:
    path = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("pgbouncer is not installed")
    return path


def _settings(
    server: PostgresServer, port: int, connections: int, certificates: Certificates | None, behind: int | None
) -> str:
    place = conninfo_to_dict(server.dsn)
    encryption = "" if certificates is None else _encryption(certificates)
    return f"""
[databases]
* = host={place["host"]} port={behind or place["port"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = users
pool_mode = transaction
default_pool_size = {connections}
server_login_retry = 0.1
{encryption}
"""


def _encryption(certificates: Certificates) -> str:
    return f"""
client_tls_sslmode = require
client_tls_cert_file = {certificates.certificate.name}
client_tls_key_file = {certificates.key.name}
client_tls_ca_file = {certificates.authority.name}
"""


def _wait(port: int, directory: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=tmws dbname=nowhere connect_timeout=2").close()
        except psycopg.OperationalError as error:
            if "refused" not in str(error).lower():
                return
        if time.monotonic() > end:
            raise RuntimeError((directory / "log").read_text())
        time.sleep(0.02)
