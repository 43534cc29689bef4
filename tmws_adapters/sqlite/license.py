"""The latest time at which the licence was looked at."""

import sqlite3
from datetime import datetime

import attrs

from tmws_adapters.sql.times import from_rfc3339, rfc3339
from tmws_adapters.sqlite.connections import Connections


@attrs.frozen
class SqliteLicenseClock:
    """A LicenseClock in one row."""

    _connections: Connections

    async def last_seen(self) -> datetime | None:
        """Return that time, or None where no licence was looked at."""
        async with self._connections.lookups.session() as session:
            return await session.run(_last_seen)

    async def note(self, now: datetime) -> datetime:
        """Remember a time unless it lies before, durably, and return the latest."""
        sql = """
            INSERT INTO license_clock (id, last_seen) VALUES (1, ?)
            ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen WHERE excluded.last_seen > last_seen
        """
        async with self._connections.writing() as session:
            await session.defer(lambda connection: connection.execute(sql, (rfc3339(now),)))
            latest = await session.run(_last_seen)
        return latest or now


def _last_seen(connection: sqlite3.Connection) -> datetime | None:
    row = connection.execute("SELECT last_seen FROM license_clock").fetchone()
    return None if row is None else from_rfc3339(row[0])
