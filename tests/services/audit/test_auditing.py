"""What verifying a log finds."""

from pathlib import Path

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.contracts.audit_steps import (
    EVERY_TEXT,
    ROWS,
    SIGNED,
    VALUES,
    Tampering,
    altered,
    auditing,
    change,
    copied,
    inserted,
    put_before,
    rehash,
    removed,
    rewrite,
    swapped,
    verify,
)
from tests.stacks import PRODUCTION
from tmws_core.domain.agent import operator
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

CALLER = operator("ada", "acme", "test")


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
