"""Looking after a PostgreSQL database as a whole: its schema, its space and what the planner knows of it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import anyio
import attrs
import psycopg
from psycopg import sql

from tmws_adapters.migrations.backup import Tell
from tmws_adapters.migrations.connecting import connect_server
from tmws_adapters.migrations.runner import downgrade_server, known
from tmws_adapters.migrations.shape import Difference, differences_of_server
from tmws_adapters.migrations.standing import Change, Standing, known_revision, standing_of
from tmws_adapters.postgres.errors import PART, connection_error, storage_error
from tmws_adapters.postgres.opener import check_encoding
from tmws_adapters.postgres.opening import STATEMENT_TIMEOUT, open_postgres
from tmws_adapters.sql.entries import progress_of
from tmws_core.errors import StorageBusy, StorageUnavailable
from tmws_core.ports.health import Flaw, Read, Reindexed

LONGEST_CHECK = timedelta(hours=6)
"""How long one comparison of two tables may run; the largest reads every word of every memory."""

_TABLES = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY relname
"""

_OTHERS = """
    SELECT count(*), min(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'tmws' AND pid <> pg_backend_pid()
"""
"""The connections of running servers; the program gives its name, unless the URL gives another."""


@attrs.frozen
class PostgresUpkeep:
    """The Upkeep of one database."""

    _url: str = attrs.field(repr=False)
    _lock_wait: timedelta = STATEMENT_TIMEOUT

    def standing(self) -> Standing:
        """Read the revision."""
        with self._connection() as connection:
            server = str(connection.info.parameter_status("server_version"))
            return standing_of(PART, server, connection)

    def upgrade(self, tell: Tell) -> Change:
        """Bring the schema up to date."""
        before = self.standing()
        if before.state in ("none", "older"):
            tell(f"changing the schema from revision {before.revision or 'none'} to {before.head}")
        anyio.run(self._open)
        return Change(before=before.revision, after=str(self.standing().revision))

    def downgrade(self, tell: Tell) -> Change:
        """Take the last revision back, unless somebody uses the database."""
        with self._connection() as connection:
            ((others, process),) = connection.execute(_OTHERS).fetchall()
        if others:
            raise StorageBusy(
                part=PART,
                reason=f"{others} connections of TMWS are open, one of them by process {process} of the server",
                hint="Stop every TMWS that uses the database, and try again",
            )
        with _translated():
            return downgrade_server(self._url, lock_wait=self._lock_wait, tell=tell)

    def differences(self) -> list[Difference]:
        """Compare the schema with what its revision makes."""
        revision = known_revision(self.standing(), known())
        if revision is None:
            return []
        with _translated():
            return differences_of_server(self._url, revision)

    def size(self) -> int:
        """Return the bytes of the database."""
        with self._connection() as connection:
            ((size,),) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
        return int(size)

    def vacuum(self, tell: Tell) -> None:
        """Make the space of what was deleted free for what is written next, table by table."""
        self._each_table("VACUUM {}", tell)

    def analyze(self, tell: Tell) -> None:
        """Let the server count what its planner goes by, table by table."""
        self._each_table("ANALYZE {}", tell)

    def integrity(self, tell: Tell) -> list[Flaw]:
        """Compare all tables with each other, and tell what is wrong."""
        tell("comparing all tables with each other")
        return anyio.run(self._integrity, progress_of(tell))

    def reindex(self, tell: Tell) -> Reindexed:
        """Make the lexical index that of the texts again, where it is not."""
        tell("comparing the lexical index with the texts")
        return anyio.run(self._reindex, progress_of(tell))

    async def _integrity(self, read: Read) -> list[Flaw]:
        async with open_postgres(self._url, pool_size=1, max_overflow=0, patience=LONGEST_CHECK) as store:
            return await store.storage.integrity(read)

    async def _reindex(self, read: Read) -> Reindexed:
        async with open_postgres(self._url, pool_size=1, max_overflow=0, patience=LONGEST_CHECK) as store:
            return await store.storage.reindex(read)

    def _each_table(self, statement: str, tell: Tell) -> None:
        with self._connection() as connection:
            names = [name for (name,) in connection.execute(_TABLES).fetchall()]
            for name in names:
                tell(name)
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    async def _open(self) -> None:
        async with open_postgres(self._url, pool_size=1, max_overflow=0, patience=self._lock_wait):
            pass

    @contextmanager
    def _connection(self) -> "Iterator[psycopg.Connection[Any]]":
        try:
            connection = connect_server(self._url, autocommit=True)
        except (psycopg.Error, UnicodeError) as error:
            # The message may hold parts of the URL: it is not kept.
            raise _unconnected(error) from None
        with closing(connection), _translated():
            check_encoding(connection.info)
            yield connection


def _unconnected(error: Exception) -> StorageUnavailable:
    if isinstance(error, psycopg.Error):
        return connection_error(error)
    return connection_error(psycopg.OperationalError("could not translate host name"))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise storage_error(error) from error
