"""The audit log in one snapshot or transaction: rows that are chained as they are written."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs

from tmws_adapters.sql.chain import KEEP_CHECKPOINT, adopted, grown, known_end, values_of
from tmws_adapters.sql.times import rfc3339
from tmws_adapters.sqlite.session import Session
from tmws_core.domain.audit import AuditEvent, AuditRecord
from tmws_core.domain.chain import ChainEnd, Checkpoint
from tmws_core.ports.audit import AuditFilter

# Whoever changes a row may leave bytes in it that are no text, or a value that is none: its hash is another one then.
_TEXT = "CAST(CASE typeof({0}) WHEN 'text' THEN {0} ELSE typeof({0}) || ' ' || quote({0}) END AS BLOB)"
_ROW = f"id, {', '.join(map(_TEXT.format, ('timestamp', 'event_type', 'agent_id', 'details')))}, hash"
_FROM = f"SELECT {_ROW} FROM security_audit_logs WHERE id >= ? ORDER BY id LIMIT ?"  # noqa: S608 - names are constants, values are bound
_PAGE = f"""
    SELECT {_ROW} FROM security_audit_logs
    WHERE (:before IS NULL OR id < :before) AND substr(event_type, 1, length(:event_type)) = :event_type
        AND (:agent_id IS NULL OR agent_id = :agent_id)
        AND (:since IS NULL OR timestamp >= :since) AND (:until IS NULL OR timestamp < :until)
    ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - as above
_STRANGERS = f"SELECT {_ROW} FROM security_audit_logs WHERE id > ? ORDER BY id"  # noqa: S608 - as above
_INSERT = """
    INSERT INTO security_audit_logs (id, timestamp, event_type, agent_id, details, hash) VALUES (?, ?, ?, ?, ?, ?)
"""
_CHECKPOINT = "last, hash, CAST(created_at AS BLOB), pruned, public_key, signature"


@attrs.frozen
class SqliteAuditLog:
    """The audit log in one transaction."""

    _session: Session

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Add rows to the end of the chain."""
        await self._session.defer(lambda connection: append(connection, events))

    async def end(self) -> ChainEnd | None:
        """Return where the chain ends, or None if that is gone."""
        return await self._session.run(_end)

    async def rows(self, first: int, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows in the order of their ids, from the id `first` on."""
        return await self._session.run(lambda connection: _records(connection.execute(_FROM, (first, limit))))

    async def page(self, wanted: AuditFilter, *, before: int | None, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows, the newest first, beginning before the id `before`."""
        values = values_of(wanted, before, limit)
        return await self._session.run(lambda connection: _records(connection.execute(_PAGE, values)))

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints in the order of their rows."""
        sql = f"SELECT {_CHECKPOINT} FROM audit_checkpoints ORDER BY last"  # noqa: S608 - as above
        rows = await self._session.run(lambda connection: connection.execute(sql).fetchall())
        return [
            Checkpoint(
                end=ChainEnd(last, hash_),
                created_at=_text(created_at),
                pruned=bool(pruned),
                public_key=public_key,
                signature=signature,
            )
            for last, hash_, created_at, pruned, public_key, signature in rows
        ]

    async def add_checkpoint(self, checkpoint: Checkpoint) -> int:
        """Keep a checkpoint, delete what it prunes, and return how many rows that were."""
        end = checkpoint.end
        values = (
            end.id,
            end.hash,
            checkpoint.created_at,
            checkpoint.pruned,
            checkpoint.public_key,
            checkpoint.signature,
        )

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(KEEP_CHECKPOINT.format(values="?, ?, ?, ?, ?, ?"), values)
            if not checkpoint.pruned:
                return 0
            connection.execute("DELETE FROM audit_checkpoints WHERE last < ?", (end.id,))
            return connection.execute("DELETE FROM security_audit_logs WHERE id <= ?", (end.id,)).rowcount

        return await self._session.run(work)

    async def last_before(self, time: datetime, first: int, limit: int) -> ChainEnd | None:
        """Return the last of the next `limit` rows, from the id `first` on, that are all older than a time, if any."""
        sql = "SELECT id, hash, timestamp < ? FROM security_audit_logs WHERE id >= ? ORDER BY id LIMIT ?"

        def work(connection: sqlite3.Connection) -> ChainEnd | None:
            found = None
            for row_id, hash_, is_older in connection.execute(sql, (rfc3339(time), first, limit)):
                if not is_older or hash_ is None:
                    break
                found = ChainEnd(row_id, hash_)
            return found

        return await self._session.run(work)


def append(connection: sqlite3.Connection, events: Sequence[AuditEvent]) -> None:
    """Add rows to the end of the chain, inside the transaction of what they record."""
    if not events:
        return
    end = known_end(_end(connection))
    strangers = _records(connection.execute(_STRANGERS, (end.id,)))
    places, told = adopted(end, strangers, events[0].timestamp)
    for end in places:
        connection.execute("UPDATE security_audit_logs SET hash = ? WHERE id = ?", (end.hash, end.id))
    end, rows = grown(end, (*told, *events))
    connection.executemany(_INSERT, rows)
    connection.execute("UPDATE audit_head SET last = ?, hash = ?", (end.id, end.hash))


def _end(connection: sqlite3.Connection) -> ChainEnd | None:
    row = connection.execute("SELECT last, hash FROM audit_head").fetchone()
    return None if row is None else ChainEnd(*row)


def _records(rows: Iterable[tuple[Any, ...]]) -> list[AuditRecord]:
    return [
        AuditRecord(row_id, _text(timestamp), _text(event_type), _text(agent_id), _text(details), hash_)
        for row_id, timestamp, event_type, agent_id, details, hash_ in rows
    ]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
