"""What the tests do with an audit log again and again."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from tests.stacks import behind_the_back, copy_store, forget_stores, rows, settings_in
from tmws_adapters.inprocess import InprocessPosition
from tmws_adapters.signing import Ed25519Signer
from tmws_adapters.stores import Store, open_store
from tmws_core.domain.audit import AuditEvent, AuditRecord, Detail
from tmws_core.domain.chain import ChainEnd, chained
from tmws_core.ports.audit import SignedPosition
from tmws_core.ports.signing import Signer
from tmws_core.ports.storage import Storage
from tmws_core.services.auditing import Auditing, Verification

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)

KEY = Ed25519Signer.of(bytes(range(32)))
OTHER_KEY = Ed25519Signer.of(bytes(32))


ROWS = 12
SIGNED = 8
VALUES = {
    "id": "id + 100",
    "timestamp": "'2026-01-31T00:00:00.000000Z'",
    "event_type": "event_type || 'x'",
    "agent_id": "'mallory'",
    "details": "'{}'",
    "hash": "zeroblob(32)",
}
"""What each column is changed to."""

INSERTION = "INSERT INTO security_audit_logs (id, timestamp, event_type, agent_id, details, hash) VALUES"


EVERY_TEXT = "timestamp, event_type, agent_id, details"


@attrs.define
class SetClock:
    """A clock that stands still until it is set."""

    time: datetime = FIRST_DAY

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0


def auditing(
    storage: Storage,
    *signers: Signer,
    clock: SetClock | None = None,
    audited: bool = True,
    position: SignedPosition | None = None,
) -> Auditing:
    """Return the service over a store; the first signer signs, and without a position nothing is known outside."""

    async def known() -> Sequence[Signer]:
        return signers or (KEY,)

    return Auditing(
        storage=storage,
        clock=clock or SetClock(),
        signers=known,
        position=position or InprocessPosition(),
        audited=audited,
    )


def events(count: int, first: int = 0, **details: Detail) -> list[AuditEvent]:
    """Return events of `count` days."""
    return [
        AuditEvent(
            timestamp=FIRST_DAY + timedelta(days=day),
            event_type=("memory.created", "memory.read", "authentication.failed")[day % 3],
            agent_id=("ada", "grace")[day % 2],
            details={"memory_id": f"id-{day}", **details},
        )
        for day in range(first, first + count)
    ]


async def write(storage: Storage, *written: AuditEvent) -> None:
    async with storage.write() as unit:
        await unit.audit(written)


def opened(home: Path) -> AbstractAsyncContextManager[Store]:
    """Open the store of a data directory."""
    return open_store(settings_in(home))


@contextmanager
def copied(home: Path) -> Iterator[Path]:
    """Copy a store for the block."""
    with TemporaryDirectory() as copy:
        copy_store(home, Path(copy))
        yield Path(copy)
        forget_stores(Path(copy))


async def verify(home: Path, *signers: Signer, position: SignedPosition | None = None) -> Verification:
    """Open a store and verify its log."""
    async with opened(home) as store:
        return await auditing(store.storage, *signers, position=position).verify()


def change(home: Path, *statements: str) -> None:
    """Change the database behind the back of the program."""
    with behind_the_back(settings_in(home)) as execute:
        for statement in statements:
            execute(statement)


def ids(home: Path) -> list[int]:
    return [row_id for (row_id,) in rows(settings_in(home), "SELECT id FROM security_audit_logs ORDER BY id")]


async def write_log(home: Path) -> None:
    """Make a store whose log has ROWS rows, one a day, of which SIGNED are signed, and the next one tells of that."""
    async with opened(home) as store:
        await write(store.storage, *events(SIGNED))
        await auditing(store.storage, clock=SetClock(FIRST_DAY + timedelta(days=SIGNED))).checkpoint()
        await write(store.storage, *events(ROWS - SIGNED - 1, first=SIGNED + 1))


@attrs.frozen
class Tampering:
    """What somebody does to the database, and the row at which that shows."""

    statements: tuple[str, ...]
    row: int


def altered(column: str, row: int) -> Tampering:
    return Tampering((f"UPDATE security_audit_logs SET {column} = {VALUES[column]} WHERE id = {row}",), row)


def removed(first: int, last: int) -> Tampering:
    first, last = sorted((first, last))
    return Tampering((f"DELETE FROM security_audit_logs WHERE id BETWEEN {first} AND {last}",), first)


def swapped(pair: tuple[int, int], columns: str) -> Tampering:
    one, other = pair
    part = f"SELECT {columns} FROM security_audit_logs WHERE id"
    return Tampering(
        (
            f"CREATE TEMP TABLE one AS {part} = {one}",
            f"UPDATE security_audit_logs SET ({columns}) = ({part} = {other}) WHERE id = {one}",
            f"UPDATE security_audit_logs SET ({columns}) = (SELECT * FROM one) WHERE id = {other}",
        ),
        min(pair),
    )


def inserted(row: int, value: str) -> Tampering:
    """Move a row and those behind it up, and put another one into its place."""
    return Tampering(
        (
            f"UPDATE security_audit_logs SET id = -id WHERE id >= {row}",
            "UPDATE security_audit_logs SET id = 1 - id WHERE id < 0",
            f"{INSERTION} ({row}, '2026-01-01T00:00:00.000000Z', 'memory.read', 'mallory', '{{}}', {value})",
        ),
        row,
    )


def put_before(row: int) -> Tampering:
    return Tampering((f"{INSERTION} ({row}, '2026-01-01', 'memory.read', 'mallory', '{{}}', zeroblob(32))",), row)


def rewrite(home: Path, row: int) -> None:
    """Change a row and compute all hashes anew, as somebody can who reads the program and writes the database."""
    change(home, f"UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = {row}")
    rehash(home)


def rehash(home: Path) -> None:
    with behind_the_back(settings_in(home)) as execute:
        end = ChainEnd()
        for row in execute(f"SELECT id, {EVERY_TEXT}, hash FROM security_audit_logs ORDER BY id"):
            record = AuditRecord(*row)
            end = ChainEnd(record.id, chained(end.hash, record))
            execute("UPDATE security_audit_logs SET hash = ? WHERE id = ?", end.hash, end.id)
        execute("UPDATE audit_head SET last = ?, hash = ?", end.id, end.hash)
