"""The partitions of memories_v2: one a month, made ahead, so that a month can be detached, moved or dropped as one."""

from datetime import datetime

from tmws_adapters.postgres.connections import Connections
from tmws_adapters.postgres.locks import PARTITIONS
from tmws_adapters.postgres.readers import ALL
from tmws_adapters.postgres.session import Session

AHEAD = 2
"""Months that are made ahead: a process that is not restarted looks again every LOOK seconds."""

LOOK = 3600.0
"""Seconds between two looks at whether partitions are missing."""

_MISSING = """
    SELECT to_char(first, 'YYYY_MM'), first, first + interval '1 month'
    FROM generate_series(
        date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + make_interval(months => %s),
        interval '1 month'
    ) AS first
    WHERE to_regclass('memories_v2_' || to_char(first, 'YYYY_MM')) IS NULL
        AND NOT EXISTS (
            SELECT 1 FROM memories_v2 WHERE created_at >= first AND created_at < first + interval '1 month'
        )
"""


async def make_partitions(connections: Connections) -> None:
    """Make the partitions of this month and the next ones that are missing, unless the default one holds their rows.

    Making one waits for the transactions that read the default partition: no such transaction may wait for this one, so
    it takes the lock of all others that do the same before it reads anything itself.
    """
    async with connections.lookup() as session:
        session.see([ALL])
        if not await session.rows(_MISSING, (AHEAD,)):
            return
    async with connections.unit() as unit:
        await unit.run("SELECT pg_advisory_xact_lock(%s, 0)", (PARTITIONS,))
        unit.see([ALL])
        for name, first, end in await unit.rows(_MISSING, (AHEAD,)):
            await make_partition(unit, name, first, end)


async def make_partition(unit: Session, name: str, first: datetime, end: datetime) -> None:
    """Make the partition of a month, given as 2026_01, for the times from `first` on and before `end`."""
    table = f"memories_v2_{name}"
    # Made beside the others first: attaching it takes a weaker lock than making it in its place.
    await unit.run(f"CREATE TABLE {table} (LIKE memories_v2 INCLUDING ALL)")
    # The policies of memories_v2 do not count for who names a partition, as pg_dump does.
    await unit.run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    await unit.run(f"CREATE POLICY whole ON {table} USING (current_setting('tmws.audience', true) = '{ALL}')")
    await unit.run(
        f"ALTER TABLE memories_v2 ATTACH PARTITION {table}"
        f" FOR VALUES FROM ('{first.isoformat()}') TO ('{end.isoformat()}')"
    )
