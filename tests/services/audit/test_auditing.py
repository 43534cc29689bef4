"""What verifying a log finds."""

from pathlib import Path

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.contracts.audit_steps import (
    EVERY_TEXT,
    INSERTION,
    ROWS,
    SIGNED,
    VALUES,
    Tampering,
    altered,
    auditing,
    change,
    copied,
    events,
    inserted,
    opened,
    put_before,
    rehash,
    removed,
    rewrite,
    swapped,
    verify,
    write,
)
from tests.stacks import PRODUCTION
from tmws_core.domain.agent import operator
from tmws_core.domain.chain import ChainEnd, Checkpoint
from tmws_core.errors import AuditBroken
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

CALLER = operator("ada", "acme", "python")

CHECKPOINT = Checkpoint(end=ChainEnd(1), created_at="now", pruned=False, public_key=b"key", signature=b"proof")


rows = st.integers(1, ROWS)


tamperings = st.one_of(
    st.builds(altered, st.sampled_from(sorted(VALUES)), rows),
    st.builds(removed, rows, rows),
    st.builds(
        swapped,
        st.tuples(rows, rows).filter(lambda pair: pair[0] != pair[1]),
        st.sampled_from([EVERY_TEXT, f"{EVERY_TEXT}, hash", "details", "hash"]),
    ),
    st.builds(inserted, st.integers(1, ROWS + 1), st.sampled_from(["NULL", "zeroblob(32)"])),
    st.builds(put_before, st.integers(-(2**63), 0)),
)


@given(tampering=tamperings)
@example(tampering=removed(ROWS, ROWS))
@example(tampering=removed(1, ROWS))
@example(tampering=altered("id", ROWS))
@settings(max_examples=30 if PRODUCTION else 150, deadline=None)
def test_any_changed_removed_moved_or_inserted_row_is_found(written: Path, tampering: Tampering) -> None:
    with copied(written) as copy:
        change(copy, *tampering.statements)
        found = anyio.run(verify, copy)
    assert found.breach is not None
    assert found.breach.id == tampering.row


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_head SET last = last - 1",
        "UPDATE audit_head SET last = last + 1",
        "UPDATE audit_head SET hash = zeroblob(32)",
        "DELETE FROM audit_head",
        "UPDATE audit_checkpoints SET last = last + 1",
        "UPDATE audit_checkpoints SET hash = zeroblob(32)",
        "UPDATE audit_checkpoints SET created_at = 'yesterday'",
        "UPDATE audit_checkpoints SET pruned = NOT pruned",
        "UPDATE audit_checkpoints SET signature = zeroblob(64)",
        "UPDATE audit_checkpoints SET signature = x''",
    ],
)
async def test_what_is_told_of_the_log_cannot_be_changed_either(home: Path, statement: str) -> None:
    change(home, statement)
    assert (await verify(home)).breach is not None


WITHOUT_KEY = (
    ("ALTER TABLE security_audit_logs DROP CONSTRAINT security_audit_logs_pkey",)
    if PRODUCTION
    else (
        "CREATE TABLE kept AS SELECT * FROM security_audit_logs",
        "DROP TABLE security_audit_logs",
        "ALTER TABLE kept RENAME TO security_audit_logs",
    )
)


@pytest.mark.parametrize("row", [1, 3, 4, 8, ROWS])
async def test_a_second_row_with_the_same_id_is_found_wherever_reading_pauses(
    home: Path, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_core.services.auditing.BATCH", 4)
    change(home, *WITHOUT_KEY)
    assert (await verify(home)).breach is None

    change(home, f"{INSERTION} ({row}, '2026-01-01', 'agent.deactivated', 'victim', '{{}}', zeroblob(32))")

    breach = (await verify(home)).breach
    assert breach is not None
    assert breach.id == row


@pytest.mark.skipif(PRODUCTION, reason="only a file keeps values of another type than its column's")
@pytest.mark.parametrize("column", ["timestamp", "event_type", "agent_id", "details"])
async def test_a_value_of_another_type_is_a_change(home: Path, column: str) -> None:
    change(home, *WITHOUT_KEY, f"UPDATE security_audit_logs SET {column} = CAST({column} AS BLOB) WHERE id = 3")

    breach = (await verify(home)).breach
    assert breach is not None
    assert breach.id == 3


@pytest.mark.parametrize("row", [2**63 - 1, 2**63 - 2**32])
async def test_a_row_that_leaves_no_place_is_named_by_who_writes(home: Path, row: int) -> None:
    change(home, f"{INSERTION} ({row}, '2026-01-01', 'memory.read', 'mallory', '{{}}', zeroblob(32))")

    async with opened(home) as store:
        with pytest.raises(AuditBroken, match=str(row)):
            await write(store.storage, *events(1))
    breach = (await verify(home)).breach
    assert breach is not None
    assert breach.id == row


@pytest.mark.parametrize("row", [2**63, -(2**63) - 1, 2**70])
async def test_a_position_that_no_row_can_have_is_none(row: int) -> None:
    told = {**CHECKPOINT.told(), "row": row}

    assert Checkpoint.of(CHECKPOINT.told()) == CHECKPOINT
    assert Checkpoint.of(told) is None


async def test_a_sound_log_is_told_with_what_is_signed_of_it(storage: Storage) -> None:
    reports = list[tuple[int, int]]()

    found = await auditing(storage).verify(lambda done, total: reports.append((done, total)))

    assert (found.rows, found.end.id, found.breach, found.signed, found.unverifiable) == (ROWS, ROWS, None, SIGNED, ())
    assert reports == [(ROWS, ROWS)]


async def test_a_store_without_a_row_is_sound(tmp_path: Path) -> None:
    found = await verify(tmp_path)
    assert (found.rows, found.breach, found.signed) == (0, None, 0)


@pytest.mark.parametrize("row", [1, SIGNED])
async def test_who_cannot_sign_cannot_rewrite_what_lies_before_a_checkpoint(home: Path, row: int) -> None:
    rewrite(home, row)

    found = (await verify(home)).breach

    assert found is not None
    assert (found.id, found.reason) == (SIGNED, "is not what its checkpoint was signed for")


async def test_cutting_the_log_off_before_a_checkpoint_is_found_even_with_a_fitting_end(home: Path) -> None:
    change(home, "DELETE FROM security_audit_logs WHERE id > 3")
    rehash(home)

    found = (await verify(home)).breach

    assert found is not None
    assert found.id == 4
