"""Going from row to row of an audit log, and where that ends."""

import struct
from collections.abc import Iterable, Sequence

import attrs
import pytest

from tmws_core.domain.audit import AuditRecord
from tmws_core.domain.chain import (
    FIRST_ID,
    GENESIS,
    SIGNED,
    UNSIGNED,
    Breach,
    ChainEnd,
    Checkpoint,
    Walk,
    chained,
    checkpoint_message,
)

MISSING = "is missing"
CHANGED = "was changed, moved or inserted"


def log(rows: int, event_type: str = "read", details: str = "{}") -> list[AuditRecord]:
    """Return a sound log."""
    records: list[AuditRecord] = []
    end = ChainEnd()
    for row in range(1, rows + 1):
        record = AuditRecord(row, f"day {row}", event_type, "ada", details, None)
        end = ChainEnd(row, chained(end.hash, record))
        records.append(attrs.evolve(record, hash=end.hash))
    return records


def end_of(records: Sequence[AuditRecord]) -> ChainEnd:
    return ChainEnd(records[-1].id, records[-1].hash or b"")


def walked(
    records: Iterable[AuditRecord], end: ChainEnd | None, at: ChainEnd | None = None, **checkpoints: bytes
) -> Walk:
    """Go over records one by one, and arrive; a checkpoint is named by its row, as `at3`."""
    walk = Walk(at or ChainEnd(), end, {int(name[2:]): digest for name, digest in checkpoints.items()})
    for record in records:
        walk.go([record])
        if walk.breach:
            break
    walk.arrive()
    return walk


def test_a_sound_log_is_gone_over_to_its_end() -> None:
    records = log(5)
    third = records[2].hash or b""
    walk = walked(records, end_of(records), at3=third)
    assert (walk.at, walk.rows, walk.breach, walk.checkpoints) == (end_of(records), 5, None, {})
    half = Walk(ChainEnd(), end_of(records), {})
    half.go(records[:2])
    half.go(records[2:])
    assert (half.at, half.rows, half.breach) == (end_of(records), 5, None)


def test_a_log_is_gone_over_from_where_it_was_pruned() -> None:
    records = log(5)
    walk = walked(records[3:], end_of(records), at=end_of(records[:3]))
    assert (walk.rows, walk.breach) == (2, None)
    assert walked([], ChainEnd()).breach is None


@pytest.mark.parametrize(
    ("left", "found"),
    [
        ((1, 2, 4, 5), Breach(3, MISSING)),
        ((2, 3, 4, 5), Breach(1, MISSING)),
        ((1, 2, 3), Breach(4, "is missing, and every one behind it")),
        ((), Breach(1, "is missing, and every one behind it")),
        ((1, 2, 2, 3), Breach(2, CHANGED)),
    ],
)
def test_what_is_missing_or_twice_there_is_told(left: Sequence[int], found: Breach) -> None:
    records = log(5)
    assert walked([records[row - 1] for row in left], end_of(records)).breach == found


@pytest.mark.parametrize("change", [{"details": '{"a":1}'}, {"hash": GENESIS}, {"hash": None}])
def test_the_walk_ends_at_the_row_that_was_changed(change: dict[str, str | bytes | None]) -> None:
    records = log(5)
    records[2] = attrs.evolve(records[2], **change)  # type: ignore[arg-type]
    walk = Walk(ChainEnd(), end_of(records), {})
    walk.go(records)
    walk.arrive()
    assert (walk.at, walk.rows, walk.breach) == (end_of(records[:2]), 2, Breach(3, CHANGED))


def test_a_row_is_what_its_checkpoint_was_signed_for() -> None:
    records = log(5)
    end = end_of(records)
    assert walked(records, end, at3=GENESIS).breach == Breach(3, UNSIGNED)
    assert walked(records, end, at9=GENESIS).breach == Breach(6, "is missing, and every one behind it")


def test_what_stands_behind_the_end_was_added() -> None:
    records = log(5)
    added = walked(records, end_of(records[:4])).breach
    assert added is not None
    assert (added.id, added.reason[:33]) == (5, "was added behind the end of the l")
    assert walked([*records[:2], records[4]], end_of(records[:4])).breach == Breach(3, MISSING)
    first = walked(records, ChainEnd()).breach
    assert first is not None
    assert first.id == 1


def test_an_end_that_nobody_knows_or_that_is_another_row_is_told() -> None:
    records = log(3)
    unknown = walked(records, None).breach
    assert unknown is not None
    assert (unknown.id, unknown.reason[:23]) == (3, "may not be the last one")
    assert walked(records, ChainEnd(3, GENESIS)).breach == Breach(3, "is not what the table audit_head says of it")


SIGNATURE = Checkpoint(end=ChainEnd(1, bytes(32)), created_at="", pruned=False, public_key=b"k", signature=b"s")
TOLD = '{"row":1,"hash":"' + "00" * 32 + '","signed_at":"","pruned":false,"signer":"6b","proof":"73"}'


@pytest.mark.parametrize(
    ("event_type", "details", "signed"),
    [
        (SIGNED, TOLD, {1: SIGNATURE, 2: SIGNATURE}),
        ("read", TOLD, {}),
        (SIGNED, "{}", {}),
        (SIGNED, "no JSON", {}),
        (SIGNED, "[" * 100_000, {}),
    ],
)
def test_the_checkpoints_are_collected_of_which_the_log_tells(
    event_type: str, details: str, signed: dict[int, Checkpoint]
) -> None:
    records = log(2, event_type=event_type, details=details)
    walk = walked(records, end_of(records))
    assert (walk.signed, walk.rows, walk.breach) == (signed, 2, None)


def test_the_hashes_and_signatures_of_earlier_versions_stay_right() -> None:
    """What they have written is verified by what every later version makes of it."""
    record = AuditRecord(1, "day 1", "read", "ada", "{}", None)
    assert chained(GENESIS, record).hex() == "2f2ee8c0c8d63f53b496785cfc6c382380435ddcb852e4bebc3d805c50758311"
    place = bytes.fromhex("0000000000000003" + "01" + "00" * 32)
    assert checkpoint_message(ChainEnd(3, GENESIS), "today", pruned=True) == (
        b"tmws audit checkpoint\x00" + place + b"today"
    )
    assert struct.unpack(">q", bytes.fromhex("80" + "00" * 7))[0] == FIRST_ID


def test_a_signature_covers_all_that_a_checkpoint_says() -> None:
    signed = checkpoint_message(ChainEnd(3, GENESIS), "today", pruned=False)
    others = (
        checkpoint_message(ChainEnd(4, GENESIS), "today", pruned=False),
        checkpoint_message(ChainEnd(3, bytes(31) + b"x"), "today", pruned=False),
        checkpoint_message(ChainEnd(3, GENESIS), "todax", pruned=False),
        checkpoint_message(ChainEnd(3, GENESIS), "today", pruned=True),
    )
    assert SIGNATURE.message == checkpoint_message(SIGNATURE.end, "", pruned=False)
    assert len({signed, *others}) == 5
