"""The chain of the audit log: hashes that prove that no row was changed, removed, moved or inserted."""

import hashlib
import json
import struct
from collections.abc import Iterable

import attrs

from tmws_core.domain.audit import AuditRecord, Detail

GENESIS = bytes(32)
"""The hash before the first row."""

UNSIGNED = "is not what its checkpoint was signed for"

SIGNED = "audit.signed"
"""The event that tells in the chain itself that a checkpoint was signed."""

_NAME = " of log "

FIRST_ID = -(2**63)
"""The smallest id that a row can have; the log begins at 1, and whatever stands before it was put there."""

LAST_ID = 2**63 - 1
"""The largest id that a row can have: behind it the chain cannot grow."""


@attrs.frozen
class ChainEnd:
    """A place in the chain: the id of a row, and the hash that proves it and all rows before it."""

    id: int = 0
    hash: bytes = GENESIS


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A signed statement of what the chain was at a row.

    With `pruned`, the rows up to it were deleted by `tmws audit prune`, and the rest is verified from here on. What was
    signed names the log, behind the time, so that a checkpoint proves nothing of another one with the same secret.
    """

    end: ChainEnd
    created_at: str
    pruned: bool
    public_key: bytes
    signature: bytes

    @property
    def message(self) -> bytes:
        """Return what is signed."""
        return checkpoint_message(self.end, self.created_at, pruned=self.pruned)

    @property
    def log(self) -> str:
        """Return the name of the log, or nothing if an older version signed, which had no names."""
        return self.created_at.partition(_NAME)[2]

    @property
    def time(self) -> str:
        """Return when it was signed."""
        return self.created_at.partition(_NAME)[0]

    def told(self) -> dict[str, Detail]:
        """Return the checkpoint as the details of an event, and as what is kept outside of the database."""
        return {
            "row": self.end.id,
            "hash": self.end.hash.hex(),
            "signed_at": self.created_at,
            "pruned": self.pruned,
            "signer": self.public_key.hex(),
            "proof": self.signature.hex(),
        }

    @classmethod
    def of(cls, told: object) -> "Checkpoint | None":
        """Return the checkpoint that `told` made this of, or None if it has made nothing like it."""
        match told:
            case {
                "row": int(row),
                "hash": str(digest),
                "signed_at": str(signed_at),
                "pruned": bool(pruned),
                "signer": str(signer),
                "proof": str(proof),
            }:
                try:
                    end = ChainEnd(row, bytes.fromhex(digest))
                    public_key, signature = bytes.fromhex(signer), bytes.fromhex(proof)
                except ValueError:
                    return None
                if not FIRST_ID <= row <= LAST_ID:
                    return None
                return cls(end=end, created_at=signed_at, pruned=pruned, public_key=public_key, signature=signature)
            case _:
                return None


@attrs.frozen
class Breach:
    """The first row at which the log is not what was written, and in what way."""

    id: int
    reason: str


def chained(previous: bytes, record: AuditRecord) -> bytes:
    """Return the hash of a row: SHA-256 of the hash before it, its id (8 bytes), and each text behind its length."""
    digest = hashlib.sha256(previous + struct.pack(">q", record.id))
    for text in (record.timestamp, record.event_type, record.agent_id, record.details):
        data = text.encode("utf-8", "surrogateescape")
        digest.update(struct.pack(">Q", len(data)) + data)
    return digest.digest()


def checkpoint_message(end: ChainEnd, created_at: str, *, pruned: bool) -> bytes:
    """Return what the signature of a checkpoint covers."""
    place = struct.pack(">q?", end.id, pruned) + end.hash
    return b"tmws audit checkpoint\x00" + place + created_at.encode("utf-8", "surrogateescape")


def signed_at(time: str, log: str) -> str:
    """Return what a checkpoint says of its time and its log."""
    return f"{time}{_NAME}{log}" if log else time


def breach_at(end: ChainEnd, record: AuditRecord) -> Breach | None:
    """Tell what is wrong with a row that follows the end of a chain, or None if it belongs there."""
    if record.hash == chained(end.hash, record):
        return None
    if record.id > end.id + 1:
        return Breach(end.id + 1, "is missing")
    return Breach(record.id, "was changed, moved or inserted")


@attrs.define
class Walk:
    """Goes from row to row as long as each follows from those before it.

    It begins behind `at`, and passes the `checkpoints`, which are hashes by the ids of their rows, up to the `end` that
    the log should have; None if nobody knows it any more. `breach` is where it could not go on. On the way it collects
    the checkpoints of which the log itself tells, as `signed`, by the ids of the rows that do.
    """

    at: ChainEnd
    end: ChainEnd | None
    checkpoints: dict[int, bytes]
    rows: int = 0
    breach: Breach | None = None
    signed: dict[int, Checkpoint] = attrs.Factory(dict)

    def go(self, records: Iterable[AuditRecord]) -> None:
        """Go over the next rows, as far as possible."""
        for record in records:
            self.breach = self._wrong(record)
            if self.breach is not None or record.hash is None:
                return
            self.at = ChainEnd(record.id, record.hash)
            self.rows += 1
            if record.event_type == SIGNED:
                self._collect(record)

    def arrive(self) -> None:
        """See what is missing behind the last row."""
        if self.breach is not None:
            return
        if self.end is None:
            self.breach = Breach(
                self.at.id, "may not be the last one: the table audit_head, which tells that, is empty"
            )
        elif self.at.id != self.end.id or self.checkpoints:
            self.breach = Breach(self.at.id + 1, "is missing, and every one behind it")
        elif self.at != self.end:
            self.breach = Breach(self.at.id, "is not what the table audit_head says of it")

    def _collect(self, record: AuditRecord) -> None:
        try:
            told = json.loads(record.details)
        except (ValueError, RecursionError):
            return
        checkpoint = Checkpoint.of(told)
        if checkpoint is not None:
            self.signed[record.id] = checkpoint

    def _wrong(self, record: AuditRecord) -> Breach | None:
        if self.end is not None and record.id > self.end.id:
            return self._behind_the_end(record)
        signed = self.checkpoints.pop(record.id, record.hash)
        if signed != record.hash:
            return Breach(record.id, UNSIGNED)
        return breach_at(self.at, record)

    def _behind_the_end(self, record: AuditRecord) -> Breach:
        if self.end is not None and self.at.id < self.end.id:
            return Breach(self.at.id + 1, "is missing")
        by = "by an older version of TMWS that still runs, or by a stranger"
        return Breach(record.id, f"was added behind the end of the log, {by}")
