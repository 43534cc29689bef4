"""The audit log: a chain of rows that only grows at its end, and is pruned at its beginning."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import attrs

from tmws_core.domain.agent import Caller
from tmws_core.domain.audit import AuditEvent, AuditRecord, Detail
from tmws_core.domain.chain import ChainEnd, Checkpoint


@attrs.frozen(kw_only=True)
class AuditFilter:
    """Which rows are asked for; `event_type` is what the type begins with, `since` is included and `until` is not."""

    event_type: str = ""
    agent_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditLog(Protocol):
    """The log as one snapshot or transaction sees it; changes belong to a transaction only."""

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Add rows to the end of the chain.

        Rows behind the end that nobody chained are chained first, and one row `audit.adopted` tells which they were.
        Raises AuditBroken if nobody knows any more where the chain ends.
        """
        ...

    async def end(self) -> ChainEnd | None:
        """Return where the chain ends, or None if that is gone, as only a change from outside can make it."""
        ...

    async def rows(self, first: int, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows in the order of their ids, from the id `first` on."""
        ...

    async def page(self, wanted: AuditFilter, *, before: int | None, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows, the newest first, beginning before the id `before`."""
        ...

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints in the order of their rows; in a unit of work nobody else adds one until its end."""
        ...

    async def add_checkpoint(self, checkpoint: Checkpoint) -> int:
        """Keep a checkpoint, in the place of one of the same row, and return how many rows were deleted.

        With `pruned`, the rows up to it and the checkpoints before it are deleted, otherwise none. One that has pruned
        gives its place only to another one that does: it tells where the log begins.
        """
        ...

    async def last_before(self, time: datetime, first: int, limit: int) -> ChainEnd | None:
        """Return the last of the next `limit` rows, from the id `first` on, that are all older than a time, if any."""
        ...


class SignedPosition(Protocol):
    """The last checkpoint of one log, kept where somebody who can write the database cannot write."""

    @property
    def where(self) -> str:
        """Tell a person where it is kept."""
        ...

    async def last(self) -> Checkpoint | None:
        """Return what was kept, or None if nothing was, or if it cannot be read any more."""
        ...

    async def keep(self, checkpoint: Checkpoint) -> bool:
        """Keep a checkpoint in the place of the former one, durably; False if that is not possible now."""
        ...


class Witness(Protocol):
    """Sees what callers do, and tells the audit log; it never fails a call, nor keeps one waiting."""

    def saw(self, caller: Caller, event_type: str, **details: Detail) -> None:
        """Note what a caller did; how it came is noted along."""
        ...
