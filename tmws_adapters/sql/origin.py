"""Where a store was moved from: one row in a table of its own, which only stores that were moved have."""

from collections.abc import Sequence
from typing import Any

from tmws_adapters.sql.tables import Origin
from tmws_core.errors import MoveUnfinished, StorageUnavailable

TABLE = "moved_from"

CREATE = f"CREATE TABLE IF NOT EXISTS {TABLE} (id integer PRIMARY KEY CHECK (id = 1), source text NOT NULL, seal text)"

KEEP = f"""
    INSERT INTO {TABLE} (id, source, seal) VALUES (1, {{0}}, {{0}})
    ON CONFLICT (id) DO UPDATE SET source = excluded.source, seal = excluded.seal
"""  # noqa: S608 - a constant name
"""With the placeholder of the dialect to be filled in."""

READ = f"SELECT source, seal FROM {TABLE}"  # noqa: S608 - as above


def origin_of(row: Sequence[Any] | None) -> Origin | None:
    """Return the origin that the row tells of."""
    return None if row is None else Origin(*row)


def check_arrived(origin: Origin | None, part: str) -> None:
    """Raise MoveUnfinished for a store that does not hold yet all that it is to hold."""
    if origin is not None and origin.seal is None:
        raise MoveUnfinished(
            part=part,
            reason=f"the move from {origin.source} has not ended",
            hint="Run the same `tmws move` again, or name another database",
        )


def check_schema(revision: str | None, head: str, part: str) -> None:
    """Raise StorageUnavailable for a database whose tables are not those of this version, of the revision `head`."""
    if revision is None:
        raise StorageUnavailable(part=part, reason="there is no store", hint="Correct the URL")
    if revision != head:
        raise StorageUnavailable(
            part=part,
            reason=f"the schema is of revision {revision}, not {head}",
            hint="Upgrade it first: `tmws db upgrade` with TMWS_DATABASE_URL set to it",
        )
