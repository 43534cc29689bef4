"""The partitions of memories_v2: one a month, made ahead, so that a month can be detached, moved or dropped as one."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from tmws_adapters.migrations.walls import UNWALLED
from tmws_adapters.postgres.briefly import tried
from tmws_adapters.postgres.connections import Connections
from tmws_adapters.postgres.locks import PARTITIONS
from tmws_adapters.postgres.readers import ALL
from tmws_adapters.postgres.session import Session
from tmws_core.errors import StorageBusy, StorageUnavailable

logger = logging.getLogger("tmws.postgresql")

AHEAD = 2
"""Months that are made ahead, which is often enough looked at in the background."""

LONGEST = 2000
"""Milliseconds that attaching may take: it reads all of the default partition, and nobody else may meanwhile."""

ATTEMPTS = 5
"""How often it is tried at once: a start is held up by a second at most."""

_MISSING = """
    SELECT to_char(first, 'YYYY_MM'), first, first + interval '1 month'
    FROM generate_series(
        date_trunc('month', coalesce(%(now)s::timestamptz, now()), 'UTC'),
        date_trunc('month', coalesce(%(now)s::timestamptz, now()), 'UTC') + make_interval(months => %(ahead)s),
        interval '1 month'
    ) AS first
    WHERE to_regclass('memories_v2_' || to_char(first, 'YYYY_MM')) IS NULL
        AND NOT EXISTS (
            SELECT 1 FROM memories_v2 WHERE created_at >= first AND created_at < first + interval '1 month'
        )
"""

_POLICIES = "SELECT quote_ident(polname) FROM pg_policy WHERE polrelid = %s::regclass"


async def make_partitions(connections: Connections, now: datetime | None = None) -> bool:
    """Make the partitions of this month and the next ones that are missing, and wall off those that others made.

    `now` tells which month it is; by default the server does.

    Months whose rows the default partition holds get none. Returns whether all of it was done. What was not does no
    harm and is told: the default partition takes what has no other.

    A partition is attached, and walled off, when nobody reads the default one, or it. Whoever comes while that is
    waited for has to wait as well, so it is tried for a moment only, again and again. No transaction that reads may
    wait for this one: it takes the lock of all others that do the same before it reads anything itself.
    """
    async with connections.lookup() as session:
        session.see([ALL])
        missing = await session.rows(_MISSING, {"now": now, "ahead": AHEAD})
        unwalled = await session.rows(UNWALLED)
    done = True
    making = (partial(_make, now, *each) for each in missing)
    for work in (*making, *(partial(_close, name) for (name,) in unwalled)):
        try:
            await tried(connections, partial(_alone, work), ATTEMPTS)
        except StorageUnavailable as error:
            logger.warning("⚠️ The partitions of the months were not looked after: %s", error.message)
            if isinstance(error, StorageBusy):
                # What keeps it from one keeps it from all.
                return False
            done = False
    return done


async def _make(now: datetime | None, name: str, first: datetime, end: datetime, unit: Session) -> None:
    unit.see([ALL])
    # Somebody else may have made it meanwhile.
    if any(name == each for each, *_ in await unit.rows(_MISSING, {"now": now, "ahead": AHEAD})):
        await make_partition(unit, name, first, end)


async def _close(table: str, unit: Session) -> None:
    if (table,) in await unit.rows(UNWALLED):
        await _wall(unit, table)


async def _alone(work: Callable[[Session], Awaitable[None]], unit: Session) -> None:
    await unit.run(f"SET LOCAL statement_timeout = {LONGEST}")
    await unit.run("SELECT pg_advisory_xact_lock(%s, 0)", (PARTITIONS,))
    await work(unit)


async def make_partition(unit: Session, name: str, first: datetime, end: datetime) -> None:
    """Make the partition of a month, given as 2026_01, for the times from `first` on and before `end`."""
    table = f"memories_v2_{name}"
    # Made beside the others first: attaching it takes a weaker lock than making it in its place.
    await unit.run(f"CREATE TABLE {table} (LIKE memories_v2 INCLUDING ALL)")
    await _wall(unit, table)
    await unit.run(
        f"ALTER TABLE memories_v2 ATTACH PARTITION {table}"
        f" FOR VALUES FROM ('{first.isoformat()}') TO ('{end.isoformat()}')"
    )


async def _wall(unit: Session, table: str) -> None:
    """Close a partition: the policies of memories_v2 do not count for who names it, as pg_dump does."""
    await unit.run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    for (policy,) in await unit.rows(_POLICIES, (table,)):
        await unit.run(f"DROP POLICY {policy} ON {table}")
    await unit.run(f"CREATE POLICY whole ON {table} USING (current_setting('tmws.audience', true) = '{ALL}')")
