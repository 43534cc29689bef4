"""Looking after a SQLite file as a whole: its schema, its space and what the planner knows of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import attrs

from tmws_adapters.migrations.backup import Tell
from tmws_adapters.migrations.belonging import looked_at
from tmws_adapters.migrations.runner import downgrade, known, upgrade
from tmws_adapters.migrations.shape import Difference, differences_of_file
from tmws_adapters.migrations.standing import Change, Standing, known_revision, standing_of
from tmws_adapters.sql.entries import progress_of
from tmws_adapters.sqlite.checkpoints import BY_HAND
from tmws_adapters.sqlite.errors import file_error, translated
from tmws_adapters.sqlite.opening import BUSY_TIMEOUT, open_sqlite
from tmws_core.ports.health import Flaw, Read, Reindexed

SAMPLE = 400
"""Rows of each index that are looked at, as sqlite.org/lang_analyze.html recommends; 0 would be all of them."""


@attrs.frozen
class SqliteUpkeep:
    """The Upkeep of one file; nothing of it is created but by `upgrade`."""

    _path: Path
    _lock_wait: timedelta = BUSY_TIMEOUT

    def standing(self) -> Standing:
        """Read the revision."""
        if not self._path.exists():
            return Standing(dialect="sqlite", server=sqlite3.sqlite_version)
        with translated():
            return looked_at(self._path, _standing, self._lock_wait.total_seconds())

    def upgrade(self, tell: Tell) -> Change:
        """Bring the schema up to date."""
        with _translated():
            return upgrade(self._path, lock_wait=self._lock_wait, tell=tell)

    def downgrade(self, tell: Tell) -> Change:
        """Take the last revision back."""
        with _translated():
            return downgrade(self._path, lock_wait=self._lock_wait, tell=tell)

    def differences(self) -> list[Difference]:
        """Compare the schema with what its revision makes."""
        revision = known_revision(self.standing(), known())
        if revision is None:
            return []
        with self._connection() as connection:
            return differences_of_file(connection, revision)

    def size(self) -> int:
        """Return the bytes of the file."""
        try:
            return self._path.stat().st_size
        except OSError as error:
            raise file_error(error) from error

    def vacuum(self, tell: Tell) -> None:
        """Write the file anew, without the space of what was deleted; as much again is needed meanwhile."""
        with self._connection() as connection:
            tell("writing the file anew")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def analyze(self, tell: Tell) -> None:
        """Let SQLite count what its planner goes by."""
        with self._connection() as connection:
            tell("counting")
            connection.execute(f"PRAGMA analysis_limit = {SAMPLE}")
            connection.execute("ANALYZE")

    def integrity(self, tell: Tell) -> list[Flaw]:
        """Read the whole file, and tell what is wrong with it."""
        tell("reading the whole file")
        return anyio.run(self._integrity, progress_of(tell))

    def reindex(self, tell: Tell) -> Reindexed:
        """Make the lexical index that of the texts again, where it is not."""
        tell("comparing the lexical index with the texts")
        return anyio.run(self._reindex, progress_of(tell))

    async def _integrity(self, read: Read) -> list[Flaw]:
        async with open_sqlite(self._path, busy_timeout=self._lock_wait) as store:
            return await store.storage.integrity(read)

    async def _reindex(self, read: Read) -> Reindexed:
        async with open_sqlite(self._path, busy_timeout=self._lock_wait) as store:
            return await store.storage.reindex(read)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        seconds = self._lock_wait.total_seconds()
        with translated():
            looked_at(self._path, _standing, seconds)
        with (
            translated(),
            closing(sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None)) as connection,
        ):
            # A process that writes meanwhile copies the log, or the last one that closes the file.
            connection.execute(BY_HAND[0])
            yield connection


def _standing(connection: sqlite3.Connection) -> Standing:
    return standing_of("sqlite", sqlite3.sqlite_version, connection)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        with translated():
            yield
    except OSError as error:
        raise file_error(error) from error
