"""Proving that the audit log is what was written, and deleting what has become too old."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import anyio
import attrs

from tmws_core.domain.agent import Caller
from tmws_core.domain.audit import AuditEvent, AuditRecord
from tmws_core.domain.chain import FIRST_ID, UNSIGNED, Breach, ChainEnd, Checkpoint, Walk, checkpoint_message
from tmws_core.errors import AuditBroken, TmwsError
from tmws_core.ports.audit import AuditFilter, AuditLog
from tmws_core.ports.signing import Signer
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock

logger = logging.getLogger("tmws")

BATCH = 1000
"""Rows that are looked at together, and deleted in one transaction; hashing them takes 3 ms."""

FIRST_LOOK = timedelta(seconds=30)
"""From the start of a service to its first look whether a checkpoint is due; loading the key takes 0.2 s."""

LOOK_EVERY = timedelta(hours=1)
DUE_AFTER = timedelta(days=1)
"""Whoever learns to write the database can rewrite as much of the log as this unnoticed."""

Report = Callable[[int, int], None]
"""Takes how many rows were looked at or deleted, and how many there are."""


@attrs.frozen(kw_only=True)
class Standing:
    """Where the log ends, and its last checkpoint."""

    end: ChainEnd | None
    checkpoint: Checkpoint | None


@attrs.frozen(kw_only=True)
class Verification:
    """What a look at the whole log has found.

    `rows` follow one another up to the `breach`, or to the end. Up to the row `signed` a checkpoint proves that not
    even somebody who can write the database has rewritten them. Checkpoints behind it that a secret has signed which is
    not known any more are `unverifiable`.
    """

    rows: int
    end: ChainEnd
    breach: Breach | None
    signed: int
    unverifiable: tuple[int, ...]


@attrs.frozen(kw_only=True)
class Auditing:
    """Reads, verifies, signs and prunes the log.

    Of the `signers`, which are asked for only when there is something to sign or to check, the first one signs; the
    others know what was signed before.
    """

    storage: Storage
    clock: Clock
    signers: Callable[[], Awaitable[Sequence[Signer]]]
    audited: bool

    async def query(self, wanted: AuditFilter, *, before: int | None = None, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows, the newest first, beginning before the id `before`."""
        async with self.storage.read() as snapshot:
            return await snapshot.audit_log.page(wanted, before=before, limit=limit)

    async def standing(self) -> Standing:
        """Tell where the log ends, and its last checkpoint; nothing is verified."""
        async with self.storage.read() as snapshot:
            return await _standing(snapshot.audit_log)

    async def verify(self, report: Report = lambda _, __: None) -> Verification:
        """Look at every row and every checkpoint, and find the first row that is not what was written."""
        async with self.storage.read() as snapshot:
            log = snapshot.audit_log
            checkpoints = await log.checkpoints()
            judged = await self._judge(checkpoints)
            start = next((each.end for each in reversed(checkpoints) if each.pruned), ChainEnd())
            walk = await _walk(log, start, FIRST_ID, checkpoints, report)
        breaches = [breach for breach in (walk.breach, judged.forged) if breach]
        return Verification(
            rows=walk.rows,
            end=walk.at,
            breach=min(breaches, key=lambda breach: breach.id, default=None),
            signed=judged.signed.id,
            unverifiable=tuple(each for each in judged.unverifiable if each > judged.signed.id),
        )

    async def checkpoint(self) -> Checkpoint:
        """Sign what the log is now.

        What was added since the last good checkpoint is verified first, so that a change is not signed along. Raises
        AuditBroken.
        """
        async with self.storage.read() as snapshot:
            log = snapshot.audit_log
            checkpoints = await log.checkpoints()
            judged = await self._judge(checkpoints)
            if judged.good is None:
                start = next((each.end for each in reversed(checkpoints) if each.pruned), ChainEnd())
                walk = await _walk(log, start, FIRST_ID, checkpoints)
            else:
                _check(await _moved(log, judged.good))
                walk = await _walk(log, judged.signed, judged.signed.id + 1, checkpoints)
        _check(judged.forged or walk.breach)
        signed = await self._sign(walk.at, pruned=False)
        if signed.end != judged.signed:
            async with self.storage.write() as unit:
                await unit.audit_log.add_checkpoint(signed)
        return signed

    async def prune(self, caller: Caller, before: datetime, report: Report = lambda _, __: None) -> int:
        """Delete the rows at the beginning of the log that are older than `before`, and return how many.

        Each step leaves a signed checkpoint from which the rest verifies. Raises AuditBroken, and deletes nothing, if
        the log is not what was written.
        """
        _check((await self.verify()).breach)
        standing = await self.standing()
        total = standing.end.id if standing.end else 0
        deleted = 0
        while step := await self._prune_some(before):
            deleted += step
            report(deleted, total)
        if deleted and self.audited:
            await self._tell(caller, deleted)
        await self.checkpoint()
        return deleted

    async def checkpoint_if_due(self) -> Checkpoint | None:
        """Sign the log if something was added to it, and the last checkpoint is older than DUE_AFTER."""
        standing = await self.standing()
        last = standing.checkpoint
        if standing.end is not None and standing.end == (ChainEnd() if last is None else last.end):
            return None
        if last is not None and _is_near(last.created_at, self.clock.now()):
            return None
        return await self.checkpoint()

    async def run(self) -> None:
        """Look now and then whether a checkpoint is due, until cancelled."""
        await anyio.sleep(FIRST_LOOK.total_seconds())
        while True:
            await self.look()
            await anyio.sleep(LOOK_EVERY.total_seconds())

    async def look(self) -> None:
        """Sign the log if that is due; what is wrong with it comes into the service's log."""
        try:
            signed = await self.checkpoint_if_due()
        except TmwsError as error:
            logger.error("❌ %s", error.message)  # noqa: TRY400 - the message says it all
        else:
            if signed is not None:
                # Kept where the log of the service goes, it proves the same to whoever does not trust the database.
                logger.info("✅ Audit log signed: row %d, hash %s", signed.end.id, signed.end.hash.hex())

    async def _prune_some(self, before: datetime) -> int:
        async with self.storage.write() as unit:
            end = await unit.audit_log.last_before(before, FIRST_ID, BATCH)
            if end is None:
                return 0
            return await unit.audit_log.add_checkpoint(await self._sign(end, pruned=True))

    async def _tell(self, caller: Caller, deleted: int) -> None:
        event = AuditEvent(
            timestamp=self.clock.now(),
            event_type="audit.pruned",
            agent_id=caller.agent_id,
            details={"count": deleted, "transport": caller.transport},
        )
        async with self.storage.write() as unit:
            await unit.audit([event])

    async def _sign(self, end: ChainEnd, *, pruned: bool) -> Checkpoint:
        signer = (await self.signers())[0]
        created_at = self.clock.now().isoformat()
        return Checkpoint(
            end=end,
            created_at=created_at,
            pruned=pruned,
            public_key=signer.public_key,
            signature=signer.sign(checkpoint_message(end, created_at, pruned=pruned)),
        )

    async def _judge(self, checkpoints: Sequence[Checkpoint]) -> "_Judged":
        judged = _Judged()
        if not checkpoints:
            return judged
        signers = {signer.public_key: signer for signer in await self.signers()}
        for each in checkpoints:
            signer = signers.get(each.public_key)
            if signer is None:
                judged.unverifiable.append(each.end.id)
            elif signer.verify(each.message, each.signature, each.public_key):
                judged.good = each
            elif judged.forged is None:
                judged.forged = Breach(each.end.id, "has a checkpoint whose signature is wrong")
        return judged


@attrs.define
class _Judged:
    """What the signatures of the checkpoints say: `good` is the last good one, `forged` the first wrong one."""

    good: Checkpoint | None = None
    forged: Breach | None = None
    unverifiable: list[int] = attrs.Factory(list)

    @property
    def signed(self) -> ChainEnd:
        return self.good.end if self.good else ChainEnd()


def _check(breach: Breach | None) -> None:
    if breach is not None:
        raise AuditBroken(
            part="audit log",
            reason=f"row {breach.id} {breach.reason}",
            hint="Keep a copy of the database, and see `tmws audit verify`",
        )


async def _walk(
    log: AuditLog,
    start: ChainEnd,
    first: int,
    checkpoints: Sequence[Checkpoint],
    report: Report = lambda _, __: None,
) -> Walk:
    """Walk over the rows from the id `first` on, which have to follow `start`."""
    ahead = {each.end.id: each.end.hash for each in checkpoints if each.end.id > start.id}
    walk = Walk(start, await log.end(), ahead)
    while True:
        batch = await log.rows(first, BATCH)
        walk.go(batch)
        report(walk.rows, walk.rows if walk.end is None else max(walk.end.id - start.id, walk.rows))
        if walk.breach is not None or len(batch) < BATCH:
            walk.arrive()
            return walk
        first = batch[-1].id + 1


async def _moved(log: AuditLog, checkpoint: Checkpoint) -> Breach | None:
    """Tell whether the row of a checkpoint is not there any more as it was."""
    if checkpoint.pruned:
        return None
    found = [ChainEnd(row.id, row.hash or b"") for row in await log.rows(checkpoint.end.id, 1)]
    return None if found == [checkpoint.end] else Breach(checkpoint.end.id, UNSIGNED)


async def _standing(log: AuditLog) -> Standing:
    checkpoints = await log.checkpoints()
    return Standing(end=await log.end(), checkpoint=checkpoints[-1] if checkpoints else None)


def _is_near(written: str, now: datetime) -> bool:
    """Tell whether a time is less than DUE_AFTER away; one in the future was written by a clock that went wrong."""
    try:
        return abs(now - datetime.fromisoformat(written)) < DUE_AFTER
    except (ValueError, TypeError):
        return False
