"""Proving that the audit log is what was written, and deleting what has become too old."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import anyio
import attrs

from tmws_core.domain.agent import Caller
from tmws_core.domain.audit import AuditEvent, AuditRecord, Detail
from tmws_core.domain.chain import (
    FIRST_ID,
    SIGNED,
    UNSIGNED,
    Breach,
    ChainEnd,
    Checkpoint,
    Walk,
    checkpoint_message,
    signed_at,
)
from tmws_core.domain.proof import Doubt, Judge, Proofs, start_of
from tmws_core.errors import AuditBroken, AuditUnproven, TmwsError
from tmws_core.ports.audit import AuditFilter, AuditLog, SignedPosition
from tmws_core.ports.signing import Signer
from tmws_core.ports.storage import Storage, UnitOfWork
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
    """Where the log ends, its last checkpoint and the one kept outside of the database; nothing is verified."""

    end: ChainEnd | None
    checkpoint: Checkpoint | None
    kept: Checkpoint | None

    @property
    def cut(self) -> bool:
        """Tell whether the log ends before what was once signed of it."""
        return self.kept is not None and self.end is not None and self.end.id < self.kept.end.id


@attrs.frozen(kw_only=True)
class Verification:
    """What a look at the whole log has found.

    `rows` follow one another up to the `breach`, or to the end. Up to the row `signed` a checkpoint proves that not
    even somebody who can write the database has rewritten them. Checkpoints behind it that a secret has signed which is
    not known any more are `unverifiable`. A `doubt` tells what is missing to a proof; without breach and doubt the log
    is what was written, up to `signed`.
    """

    rows: int
    end: ChainEnd
    breach: Breach | None
    signed: int
    unverifiable: tuple[int, ...]
    doubt: Doubt | None


@attrs.frozen(kw_only=True)
class Auditing:
    """Reads, verifies, signs and prunes the log.

    Of the `signers`, which are asked for only when there is something to sign or to check, the first one signs; the
    others know what was signed before. The last checkpoint is also kept at `position`, outside of the database.
    """

    storage: Storage
    clock: Clock
    signers: Callable[[], Awaitable[Sequence[Signer]]]
    position: SignedPosition
    audited: bool

    async def query(self, wanted: AuditFilter, *, before: int | None = None, limit: int) -> list[AuditRecord]:
        """Return at most `limit` rows, the newest first, beginning before the id `before`."""
        async with self.storage.read() as snapshot:
            return await snapshot.audit_log.page(wanted, before=before, limit=limit)

    async def standing(self) -> Standing:
        """Tell where the log ends, and its last checkpoints; nothing is verified."""
        kept = await self.position.last()
        async with self.storage.read() as snapshot:
            checkpoints = await snapshot.audit_log.checkpoints()
            end = await snapshot.audit_log.end()
        return Standing(end=end, checkpoint=checkpoints[-1] if checkpoints else None, kept=kept)

    async def verify(self, report: Report = lambda _, __: None) -> Verification:
        """Look at every row and every checkpoint, and find the first row that is not what was written."""
        async with self.storage.read() as snapshot:
            log = snapshot.audit_log
            proofs, judge = await self._proofs(log)
            walk = await _walk(log, proofs.start, FIRST_ID, proofs, report)
        breaches = [breach for breach in (walk.breach, proofs.contradiction(walk.signed, judge)) if breach]
        return Verification(
            rows=walk.rows,
            end=walk.at,
            breach=min(breaches, key=lambda breach: breach.id, default=None),
            signed=proofs.signed.id,
            unverifiable=proofs.unsure,
            doubt=proofs.doubt,
        )

    async def checkpoint(self, *, accept: bool = False) -> Checkpoint:
        """Sign what the log is now.

        What was added since the last good checkpoint is verified first, so that a change is not signed along; the log
        itself tells of the signature in its next row. Raises AuditBroken; AuditUnproven where only another secret has
        signed the log. Somebody who has looked at it may `accept` that, and that it ends before what was signed once.
        """
        while (signed := await self._checkpoint(accept=accept)) is None:
            pass
        if not await self.position.keep(signed):
            logger.warning("⚠️ The signed position of the audit log could not be kept in %s", self.position.where)
        return signed

    async def _checkpoint(self, *, accept: bool) -> Checkpoint | None:
        """Do that, or nothing and return None if what was looked at has been pruned meanwhile."""
        async with self.storage.read() as snapshot:
            log = snapshot.audit_log
            proofs, judge = await self._proofs(log, accept=accept)
            if proofs.unsure and not accept:
                raise _unproven(Doubt.ANOTHER_SECRET, "to sign it")
            if proofs.good is None:
                walk = await _walk(log, proofs.start, FIRST_ID, proofs)
            else:
                _check(await _moved(log, proofs.good))
                walk = await _walk(log, proofs.good.end, proofs.good.end.id + 1, proofs)
            name = await _name(log, proofs.good)
        _check(proofs.contradiction(walk.signed, judge) or walk.breach)
        if proofs.good is not None and not proofs.unsure and _adds_nothing(walk, proofs.good):
            return proofs.good
        signed = await self._sign(walk.at, name, pruned=False)
        start = await self._sign(proofs.start, name, pruned=True) if proofs.start.id in proofs.unsure else None
        async with self.storage.write() as unit:
            now = start_of(await unit.audit_log.checkpoints())
            if now != proofs.start and (start is not None or now.id >= walk.at.id):
                return None
            if start is not None:
                await unit.audit_log.add_checkpoint(start)
            if walk.at.id > now.id:
                await unit.audit_log.add_checkpoint(signed)
            await self._tell(unit, SIGNED, "tmws", signed.told() | ({"accepted": True} if accept else {}))
        return signed

    async def prune(self, caller: Caller, before: datetime, report: Report = lambda _, __: None) -> int:
        """Delete the rows at the beginning of the log that are older than `before`, and return how many.

        Each step leaves a signed checkpoint from which the rest verifies. Raises AuditBroken, and deletes nothing, if
        the log is not what was written, and AuditUnproven if nothing proves that it is.
        """
        found = await self.verify()
        _check(found.breach)
        if found.end == ChainEnd():
            return 0
        if found.doubt not in (None, Doubt.NOTHING_OUTSIDE):
            raise _unproven(found.doubt, "to delete anything")
        signed = await self.checkpoint()
        last = signed.end.id
        async with self.storage.read() as snapshot:
            name = await _name(snapshot.audit_log, signed)
        deleted = 0
        while step := await self._prune_some(before, last, name):
            deleted += step
            report(deleted, last)
        if deleted:
            async with self.storage.write() as unit:
                details: dict[str, Detail] = {"count": deleted, "transport": caller.transport}
                await self._tell(unit, "audit.pruned", caller.agent_id, details)
        await self.checkpoint()
        return deleted

    async def checkpoint_if_due(self) -> Checkpoint | None:
        """Sign the log if something was added to it, and the last checkpoint is older than DUE_AFTER."""
        standing = await self.standing()
        last = standing.checkpoint
        if standing.end == ChainEnd() and last is None and standing.kept is None:
            return None
        if last is not None and not standing.cut and _is_near(last.time, self.clock.now()):
            return None
        signed = await self.checkpoint()
        return None if signed == last else signed

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

    async def _prune_some(self, before: datetime, last: int, name: str) -> int:
        async with self.storage.write() as unit:
            # Nobody else prunes until this has ended; who did before, is counted: rows behind `last` are not verified.
            start = start_of(await unit.audit_log.checkpoints())
            end = await unit.audit_log.last_before(before, FIRST_ID, min(max(last - start.id, 0), BATCH))
            if end is None:
                return 0
            return await unit.audit_log.add_checkpoint(await self._sign(end, name, pruned=True))

    async def _tell(self, unit: UnitOfWork, event_type: str, agent_id: str, details: dict[str, Detail]) -> None:
        if self.audited:
            now = self.clock.now()
            await unit.audit([AuditEvent(timestamp=now, event_type=event_type, agent_id=agent_id, details=details)])

    async def _sign(self, end: ChainEnd, name: str, *, pruned: bool) -> Checkpoint:
        signer = (await self.signers())[0]
        created_at = signed_at(self.clock.now().isoformat(), name)
        return Checkpoint(
            end=end,
            created_at=created_at,
            pruned=pruned,
            public_key=signer.public_key,
            signature=signer.sign(checkpoint_message(end, created_at, pruned=pruned)),
        )

    async def _proofs(self, log: AuditLog, *, accept: bool = False) -> tuple[Proofs, Judge]:
        """Return what the checkpoints are worth, and what judges further ones."""
        checkpoints = await log.checkpoints()
        kept = None if accept else await self.position.last()
        signers: dict[bytes, Signer] = {}
        if checkpoints or kept:
            signers = {signer.public_key: signer for signer in await self.signers()}

        def judge(each: Checkpoint) -> bool | None:
            signer = signers.get(each.public_key)
            return None if signer is None else signer.verify(each.message, each.signature, each.public_key)

        return Proofs.judged(checkpoints, kept, judge), judge


def _check(breach: Breach | None) -> None:
    if breach is not None:
        raise AuditBroken(
            part="audit log",
            reason=f"row {breach.id} {breach.reason}",
            hint="Keep a copy of the database, and see `tmws audit verify`",
        )


def _unproven(doubt: Doubt, purpose: str) -> AuditUnproven:
    if doubt is Doubt.ANOTHER_SECRET:
        return AuditUnproven(
            part="audit log",
            reason=f"the secret that signed it last is not known any more, so nothing proves enough {purpose}",
            hint="Set TMWS_SECRET_KEY_PREVIOUS to that secret, or compare the log with what you kept of it and run "
            "`tmws audit sign --accept`",
        )
    return AuditUnproven(
        part="audit log",
        reason=f"no checkpoint of it was ever signed, so nothing proves enough {purpose}",
        hint="See `tmws audit verify`, then run `tmws audit sign`",
    )


async def _walk(
    log: AuditLog, start: ChainEnd, first: int, proofs: Proofs, report: Report = lambda _, __: None
) -> Walk:
    """Walk over the rows from the id `first` on, which have to follow `start`."""
    walk = Walk(start, await log.end(), proofs.ahead(start))
    known: list[AuditRecord] = []
    while True:
        batch = await log.rows(first, BATCH)
        # The last row is read again: in a table that has lost its key, another one may have the same id.
        walk.go(batch[1:] if known and batch[:1] == known else batch)
        report(walk.rows, walk.rows if walk.end is None else max(walk.end.id - start.id, walk.rows))
        if walk.breach is not None or len(batch) < BATCH:
            walk.arrive()
            return walk
        known = batch[-1:]
        first = batch[-1].id


async def _name(log: AuditLog, signed: Checkpoint | None) -> str:
    """Return the name of a log: what it was signed with before, or its first row's hash."""
    if signed is not None and signed.log:
        return signed.log
    first = await log.rows(FIRST_ID, 1)
    return first[0].hash.hex() if first and first[0].hash else ""


def _adds_nothing(walk: Walk, last: Checkpoint) -> bool:
    """Tell whether nothing follows a checkpoint but the row that tells of it."""
    return walk.rows == 0 or (walk.rows == 1 and any(each.end == last.end for each in walk.signed.values()))


async def _moved(log: AuditLog, checkpoint: Checkpoint) -> Breach | None:
    """Tell whether the row of a checkpoint is not there any more as it was."""
    if checkpoint.pruned:
        return None
    found = [ChainEnd(row.id, row.hash or b"") for row in await log.rows(checkpoint.end.id, 1)]
    return None if found == [checkpoint.end] else Breach(checkpoint.end.id, UNSIGNED)


def _is_near(written: str, now: datetime) -> bool:
    """Tell whether a time is less than DUE_AFTER away; one in the future was written by a clock that went wrong."""
    try:
        return abs(now - datetime.fromisoformat(written)) < DUE_AFTER
    except (ValueError, TypeError):
        return False
