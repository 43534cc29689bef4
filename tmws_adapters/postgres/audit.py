"""The audit log in one snapshot or transaction: rows that are chained as they are written."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from tmws_adapters.postgres.locks import lock_checkpoints
from tmws_adapters.postgres.session import Row, Session
from tmws_adapters.sql.chain import KEEP_CHECKPOINT, adopted, grown, known_end, values_of
from tmws_adapters.sql.times import rfc3339
from tmws_core.domain.audit import AuditEvent, AuditRecord
from tmws_core.domain.chain import ChainEnd, Checkpoint
from tmws_core.ports.audit import AuditFilter

_ROW = "id, timestamp, event_type, agent_id, details, hash"
_PAGE = f"""
    SELECT {_ROW} FROM security_audit_logs
    WHERE (%(before)s::bigint IS NULL OR id < %(before)s) AND starts_with(event_type, %(event_type)s)
        AND (%(agent_id)s::text IS NULL OR agent_id = %(agent_id)s)
        AND (%(since)s::text IS NULL OR timestamp >= %(since)s) AND (%(until)s::text IS NULL OR timestamp < %(until)s)
    ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - names are constants, values are bound
_INSERT = f"""
    INSERT INTO security_audit_logs ({_ROW})
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
"""  # noqa: S608 - as above
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
        return _end_of(await self._session.rows("SELECT last, hash FROM audit_head"))

    async def rows(self, first: int, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows in the order of their ids, from the id `first` on."""
        await self._session.settle()
        sql = f"SELECT {_ROW} FROM security_audit_logs WHERE id >= %s ORDER BY id LIMIT %s"  # noqa: S608 - as above
        with self._session.seeing_all():
            return _records(await self._session.rows(sql, (first, limit)))

    async def page(self, wanted: AuditFilter, *, before: int | None, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows, the newest first, beginning before the id `before`."""
        await self._session.settle()
        values = values_of(wanted, before, limit)
        with self._session.seeing_all():
            return _records(await self._session.rows(_PAGE, values))

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints in the order of their rows; in a unit of work nobody else adds one until its end."""
        if self._session.writes:
            lock_checkpoints(self._session)
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
        await session.run(
            KEEP_CHECKPOINT.format(values="%s, %s, %s, %s, %s, %s"),
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
        with session.seeing_all():
            return await session.run("DELETE FROM security_audit_logs WHERE id <= %s", (end.id,))

    async def last_before(self, time: datetime, first: int, limit: int) -> ChainEnd | None:
        """Return the last of the next `limit` rows, from the id `first` on, that are all older than a time, if any."""
        await self._session.settle()
        sql = "SELECT id, hash, timestamp < %s FROM security_audit_logs WHERE id >= %s ORDER BY id LIMIT %s"
        found = None
        with self._session.seeing_all():
            rows = await self._session.rows(sql, (rfc3339(time), first, limit))
        for row_id, hash_, is_older in rows:
            if not is_older or hash_ is None:
                break
            found = ChainEnd(row_id, hash_)
        return found

    async def _append(self, events: Sequence[AuditEvent]) -> None:
        with self._session.seeing_all():
            await self._append_seeing(events)

    async def _append_seeing(self, events: Sequence[AuditEvent]) -> None:
        session = self._session
        heads, ((newest,),) = await session.answers(
            ("SELECT last, hash FROM audit_head FOR UPDATE", ()), ("SELECT max(id) FROM security_audit_logs", ())
        )
        end = known_end(_end_of(heads))
        strangers = await self.rows(end.id + 1, newest - end.id) if (newest or 0) > end.id else []
        places, told = adopted(end, strangers, events[0].timestamp)
        for end in places:
            session.later("UPDATE security_audit_logs SET hash = %s WHERE id = %s", (end.hash, end.id))
        end, rows = grown(end, (*told, *events), _text)
        session.later(_INSERT, [list(column) for column in zip(*rows, strict=True)])
        session.later("UPDATE audit_head SET last = %s, hash = %s", (end.id, end.hash))


def _end_of(rows: Sequence[Row]) -> ChainEnd | None:
    return ChainEnd(*rows[0]) if rows else None


def _records(rows: Iterable[Row]) -> list[AuditRecord]:
    return [AuditRecord(*row) for row in rows]


def _text(agent_id: str) -> str:
    """Return a text that PostgreSQL can keep: it has none with a zero byte in it."""
    return agent_id.replace("\0", "\N{REPLACEMENT CHARACTER}")
