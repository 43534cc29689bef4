"""How the audit log grows: rows that are chained as they are written."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson

from tmws_adapters.sql.times import rfc3339
from tmws_core.domain.audit import AuditEvent, AuditRecord
from tmws_core.domain.chain import LAST_ID, ChainEnd, chained
from tmws_core.errors import AuditBroken
from tmws_core.ports.audit import AuditFilter

Written = tuple[int, str, str, str, str, bytes]
"""A row: id, timestamp, event_type, agent_id, details, hash."""

KEEP_CHECKPOINT = """
    INSERT INTO audit_checkpoints AS kept (last, hash, created_at, pruned, public_key, signature) VALUES ({values})
    ON CONFLICT (last) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at, pruned = excluded.pruned,
        public_key = excluded.public_key, signature = excluded.signature
    WHERE excluded.pruned >= kept.pruned
"""
"""One that prunes, behind which the log begins, gives way only to another one that does."""


ROOM = 2**32
"""Ids that the chain needs to go on: as many as nobody ever writes."""


def known_end(end: ChainEnd | None) -> ChainEnd:
    """Return the end of the chain; AuditBroken if nobody knows it any more."""
    if end is None:
        raise AuditBroken(
            part="audit log",
            reason="it is not known any more where the chain ends, because the table audit_head was changed",
            hint="Keep a copy of the database, and restore the last backup",
        )
    _check_room(end.id)
    return end


def adopted(end: ChainEnd, strangers: Sequence[AuditRecord], now: datetime) -> tuple[list[ChainEnd], list[AuditEvent]]:
    """Chain the rows behind the end that an older version of the program has written.

    Returns the place in the chain of each, and what tells of them.
    """
    places = []
    for record in strangers:
        _check_room(record.id)
        end = ChainEnd(record.id, chained(end.hash, record))
        places.append(end)
    if not places:
        return [], []
    details = {"first_id": strangers[0].id, "last_id": end.id, "count": len(strangers)}
    return places, [AuditEvent(timestamp=now, event_type="audit.adopted", agent_id="tmws", details={**details})]


def grown(
    end: ChainEnd, events: Iterable[AuditEvent], text: Callable[[str], str] = str
) -> tuple[ChainEnd, list[Written]]:
    """Return the rows of events behind the end, and where the chain ends then; `text` is what the store can keep."""
    rows: list[Written] = []
    for event in events:
        details = orjson.dumps(event.details).decode()
        record = AuditRecord(
            end.id + 1, rfc3339(event.timestamp), event.event_type, text(event.agent_id), details, None
        )
        end = ChainEnd(record.id, chained(end.hash, record))
        rows.append((record.id, record.timestamp, record.event_type, record.agent_id, record.details, end.hash))
    return end, rows


def values_of(wanted: AuditFilter, before: int | None, limit: int) -> dict[str, Any]:
    """Return what the query for a page binds."""
    return {
        "event_type": wanted.event_type,
        "agent_id": wanted.agent_id,
        "since": wanted.since and rfc3339(wanted.since),
        "until": wanted.until and rfc3339(wanted.until),
        "before": before,
        "limit": limit,
    }


def _check_room(row_id: int) -> None:
    if row_id > LAST_ID - ROOM:
        raise AuditBroken(
            part="audit log",
            reason=f"row {row_id} was put there by a stranger, and leaves no place for further rows",
            hint="Keep a copy of the database, see `tmws audit verify`, and restore the last backup",
        )
