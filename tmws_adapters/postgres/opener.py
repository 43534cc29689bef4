"""Opening a connection: which server it goes to, how it is set up, and how the death of the other end is noticed."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import anyio
import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tmws_adapters.postgres.errors import PART, connection_error
from tmws_adapters.postgres.vector_type import register
from tmws_core.errors import StorageUnavailable

CONNECT_TIMEOUT = 10
"""Seconds to wait for the only server of a URL, unless the URL says otherwise."""

NEXT_HOST = 2
"""Seconds to wait for one of several servers, which is the least that libpq knows: the next one may be the primary."""

SILENCE = 5
"""Seconds without a sign of life from the machine at the other end, after which its connections are given up; a network
that works answers within milliseconds."""

SLACK = timedelta(seconds=5)
"""How long after its timeout the server's word is waited for; a server that cannot end a statement in time is gone."""

LOCK_TIMEOUT = timedelta(seconds=10)
"""How long a statement waits for another transaction; those of this program last for milliseconds."""

_DEFAULTS = {
    "fallback_application_name": "tmws",
    "keepalives_idle": SILENCE,
    "keepalives_interval": 1,
    "keepalives_count": SILENCE,
    "tcp_user_timeout": 1000 * SILENCE,
}


@attrs.define(eq=False, kw_only=True)
class Opener:
    """Opens connections that are set up alike: to the primary among the hosts of a URL, or to any with `replica`.

    `within` bounds all of it, in seconds.
    """

    url: str
    statement_timeout: timedelta
    lock_timeout: timedelta = LOCK_TIMEOUT
    replica: bool = False
    within: float | None = None
    _last: "tuple[str, str] | None" = attrs.field(default=None, init=False)

    @property
    def limit(self) -> float | None:
        """Return after how many seconds an answer does not come any more; None where statements take their time."""
        return (self.statement_timeout + SLACK).total_seconds() if self.statement_timeout else None

    async def connect(self) -> "psycopg.AsyncConnection[Any]":
        """Open a connection; a StorageUnavailable says why there is none, a ServerAway that there may be one soon."""
        try:
            with anyio.fail_after(self.within):
                return await self._connected()
        except TimeoutError:
            raise connection_error(psycopg.OperationalError("timeout")) from None

    async def _connected(self) -> "psycopg.AsyncConnection[Any]":
        try:
            parameters = self._parameters()
            connection = await psycopg.AsyncConnection.connect(make_conninfo("", **parameters), autocommit=True)
        except (psycopg.Error, UnicodeError) as error:
            # The message may hold parts of the URL: it is not kept.
            raise connection_error(_plain(error)) from None
        self._last = (connection.info.host, str(connection.info.port))
        try:
            check_encoding(connection.info)
            with cut_off(connection, self.limit):
                await self._set_up(connection)
                await register(connection)
        except BaseException as error:
            # Also where the task is cancelled.
            await connection.close()
            if isinstance(error, psycopg.Error):
                raise connection_error(error) from error
            raise
        return connection

    def _parameters(self) -> dict[str, Any]:
        parameters = conninfo_to_dict(self.url)
        places = _places(parameters)
        defaults = {**_DEFAULTS, "connect_timeout": NEXT_HOST if len(places) > 1 else CONNECT_TIMEOUT}
        if not self.replica:
            defaults["target_session_attrs"] = "primary"
        if self._last in places and "hostaddr" not in parameters:
            # A dead machine in front of the primary would cost its timeout for each connection.
            places.sort(key=lambda place: place != self._last)
            parameters["host"], parameters["port"] = (",".join(each) for each in zip(*places, strict=True))
        return defaults | parameters

    async def _set_up(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        milliseconds = timedelta(milliseconds=1)
        # All in one transaction, begun as the role or the database says: a replica refuses one that is serializable.
        # default_transaction_read_only is left as it is: who sets it, such as a host whose disk is full, means it.
        cursor = await connection.execute(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET default_transaction_isolation = 'read committed';"
            f"SET statement_timeout = {self.statement_timeout // milliseconds};"
            f"SET lock_timeout = {self.lock_timeout // milliseconds};"
            f"SET idle_in_transaction_session_timeout = {2 * self.statement_timeout // milliseconds};"
            "SET tmws.audience = ''; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET client_encoding = 'UTF8';"
            "SET jit = off;"
            "SELECT pg_backend_pid()".encode()
        )
        while cursor.nextset():
            pass
        if await cursor.fetchone() != (connection.info.backend_pid,):
            # Behind a pooler each transaction may meet another process, which knows no statement prepared by a former.
            connection.prepare_threshold = None


def check_encoding(info: psycopg.ConnectionInfo) -> None:
    """Refuse a database that cannot hold every text, by what the server tells of itself on connecting.

    Raises:
        StorageUnavailable: its encoding is another one than UTF8.
    """
    encoding = info.parameter_status("server_encoding") or "UTF8"
    if encoding != "UTF8":
        raise StorageUnavailable(
            part=PART,
            reason=f"the database has the encoding {encoding}, in which not every text can be stored",
            hint="Use a database that was made with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )


@contextmanager
def cut_off(connection: "psycopg.AsyncConnection[Any]", seconds: float | None) -> Iterator[None]:
    """Break the connection if the block takes longer: whoever waits for an answer gets the driver's error.

    The server ends statements by itself; this is for one behind a network that swallows what it says.
    """
    if seconds is None:
        yield
        return
    timer = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: "psycopg.AsyncConnection[Any]") -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)


def _places(parameters: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the hosts with their ports, in the order in which they are tried."""
    hosts = str(parameters.get("host") or "").split(",")
    ports = str(parameters.get("port") or "").split(",")
    return list(zip(hosts, ports if len(ports) == len(hosts) else len(hosts) * [ports[0]], strict=True))


def _plain(error: Exception) -> psycopg.Error:
    """Return an error of the driver; a host that cannot be encoded is a wrong one."""
    return error if isinstance(error, psycopg.Error) else psycopg.OperationalError("could not translate host name")
