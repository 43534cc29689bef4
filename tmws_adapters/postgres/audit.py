"""The audit log in one snapshot or transaction: rows that are chained as they are written."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import attrs
import orjson

from tmws_adapters.postgres.session import Row, Session
from tmws_core.domain.audit import AuditEvent, AuditRecord
from tmws_core.domain.chain import ChainEnd, Checkpoint, chained
from tmws_core.errors import AuditBroken
from tmws_core.ports.audit import AuditFilter

_ROW = "id, timestamp, event_type, agent_id, details, hash"
_PAGE = f"""
    SELECT {_ROW} FROM security_audit_logs
    WHERE (%(before)s::bigint IS NULL OR id < %(before)s) AND starts_with(event_type, %(event_type)s)
        AND (%(agent_id)s::text IS NULL OR agent_id = %(agent_id)s)
        AND (%(since)s::text IS NULL OR timestamp >= %(since)s) AND (%(until)s::text IS NULL OR timestamp < %(until)s)
    ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - names are constants, values are bound
_INSERT = f"INSERT INTO security_audit_logs ({_ROW}) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608 - as above
_CHECKPOINT = "last, hash, created_at, pruned, public_key, signature"


@attrs.frozen
class PostgresAuditLog:
    """The audit log in one transaction.

    The end of the chain is one row, which whoever appends holds until the transaction ends. So rows are appended as the
    last thing before the commit: one process after the other, each for as long as a commit takes.
    """

    _session: Session

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Add rows to the end of the chain."""
        if not events:
            return
        if self._session.writes:
            self._session.defer(lambda: self._append(events))
        else:
            await self._append(events)

    async def end(self) -> ChainEnd | None:
        """Return where the chain ends, or None if that is gone."""
        await self._session.settle()
        return await self._end("")

    async def rows(self, first: int, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows in the order of their ids, from the id `first` on."""
        await self._session.settle()
        sql = f"SELECT {_ROW} FROM security_audit_logs WHERE id >= %s ORDER BY id LIMIT %s"  # noqa: S608 - as above
        return _records(await self._session.rows(sql, (first, limit)))

    async def page(self, wanted: AuditFilter, *, before: int | None, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows, the newest first, beginning before the id `before`."""
        await self._session.settle()
        values = {
            "event_type": wanted.event_type,
            "agent_id": wanted.agent_id,
            "since": wanted.since and _rfc3339(wanted.since),
            "until": wanted.until and _rfc3339(wanted.until),
            "before": before,
            "limit": limit,
        }
        return _records(await self._session.rows(_PAGE, values))

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints in the order of their rows."""
        sql = f"SELECT {_CHECKPOINT} FROM audit_checkpoints ORDER BY last"  # noqa: S608 - as above
        return [
            Checkpoint(
                end=ChainEnd(last, hash_),
                created_at=created_at,
                pruned=pruned,
                public_key=public_key,
                signature=signature,
            )
            for last, hash_, created_at, pruned, public_key, signature in await self._session.rows(sql)
        ]

    async def add_checkpoint(self, checkpoint: Checkpoint) -> int:
        """Keep a checkpoint, delete what it prunes, and return how many rows that were."""
        session, end = self._session, checkpoint.end
        await session.settle()
        await session.run("DELETE FROM audit_checkpoints WHERE last = %s", (end.id,))
        await session.run(
            f"INSERT INTO audit_checkpoints ({_CHECKPOINT}) VALUES (%s, %s, %s, %s, %s, %s)",  # noqa: S608 - as above
            (
                end.id,
                end.hash,
                checkpoint.created_at,
                checkpoint.pruned,
                checkpoint.public_key,
                checkpoint.signature,
            ),
        )
        if not checkpoint.pruned:
            return 0
        await session.run("DELETE FROM audit_checkpoints WHERE last < %s", (end.id,))
        return await session.run("DELETE FROM security_audit_logs WHERE id <= %s", (end.id,))

    async def last_before(self, time: datetime, first: int, limit: int) -> ChainEnd | None:
        """Return the last of the next `limit` rows, from the id `first` on, that are all older than a time, if any."""
        await self._session.settle()
        sql = "SELECT id, hash, timestamp < %s FROM security_audit_logs WHERE id >= %s ORDER BY id LIMIT %s"
        found = None
        for row_id, hash_, is_older in await self._session.rows(sql, (_rfc3339(time), first, limit)):
            if not is_older or hash_ is None:
                break
            found = ChainEnd(row_id, hash_)
        return found

    async def _append(self, events: Sequence[AuditEvent]) -> None:
        end = await self._end("FOR UPDATE")
        if end is None:
            raise AuditBroken(
                part="audit log",
                reason="it is not known any more where the chain ends, because the table audit_head was changed",
                hint="Keep a copy of the database, and restore the last backup",
            )
        end, adopted = await self._adopt(end, events[0].timestamp)
        rows = []
        for event in (*adopted, *events):
            record = _record(end.id + 1, event)
            end = ChainEnd(record.id, chained(end.hash, record))
            rows.append((record.id, record.timestamp, record.event_type, record.agent_id, record.details, end.hash))
        await self._session.run_many(_INSERT, rows)
        await self._session.run("UPDATE audit_head SET last = %s, hash = %s", (end.id, end.hash))

    async def _adopt(self, end: ChainEnd, now: datetime) -> tuple[ChainEnd, list[AuditEvent]]:
        """Chain the rows that somebody else has written since, and return what tells of them."""
        sql = f"SELECT {_ROW} FROM security_audit_logs WHERE id > %s ORDER BY id"  # noqa: S608 - as above
        strangers = _records(await self._session.rows(sql, (end.id,)))
        for record in strangers:
            end = ChainEnd(record.id, chained(end.hash, record))
            await self._session.run("UPDATE security_audit_logs SET hash = %s WHERE id = %s", (end.hash, end.id))
        if not strangers:
            return end, []
        details = {"first_id": strangers[0].id, "last_id": end.id, "count": len(strangers)}
        return end, [AuditEvent(timestamp=now, event_type="audit.adopted", agent_id="tmws", details={**details})]

    async def _end(self, locking: str) -> ChainEnd | None:
        row = await self._session.row(f"SELECT last, hash FROM audit_head {locking}")  # noqa: S608 - as above
        return None if row is None else ChainEnd(*row)


def _record(number: int, event: AuditEvent) -> AuditRecord:
    """Return an event as it stands in the log; PostgreSQL has no text with a zero byte in it."""
    return AuditRecord(
        number,
        _rfc3339(event.timestamp),
        event.event_type,
        event.agent_id.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        orjson.dumps(event.details).decode(),
        None,
    )


def _records(rows: Iterable[Row]) -> list[AuditRecord]:
    return [AuditRecord(*row) for row in rows]


def _rfc3339(time: datetime) -> str:
    """Return a time as text that sorts as the times do."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
