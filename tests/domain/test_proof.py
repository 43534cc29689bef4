"""What the checkpoints of an audit log prove, with signatures that are only names."""

import attrs
import pytest

from tmws_core.domain.chain import UNSIGNED, Breach, ChainEnd, Checkpoint, signed_at
from tmws_core.domain.proof import FORGED, FORGED_OUTSIDE, GONE, STRANGE, Doubt, Proofs

TELLS_WRONG = "tells of a signature that is wrong"


def checkpoint(
    row: int, signature: str = "good", *, pruned: bool = False, log: str = "", digest: int = 0
) -> Checkpoint:
    end = ChainEnd(row, bytes([digest or row % 256]) * 32)
    created_at = signed_at("2026-01-31T00:00:00+00:00", log)
    return Checkpoint(end=end, created_at=created_at, pruned=pruned, public_key=b"k", signature=signature.encode())


def judge(signed: Checkpoint) -> bool | None:
    return {b"good": True, b"forged": False, b"strange": None}[signed.signature]


def judged(*checkpoints: Checkpoint, kept: Checkpoint | None = None) -> Proofs:
    return Proofs.judged(checkpoints, kept, judge)


def test_nothing_is_proven_by_nothing() -> None:
    proofs = judged()
    assert (proofs.signed, proofs.start, proofs.unsure) == (ChainEnd(), ChainEnd(), ())
    assert proofs.doubt is Doubt.NOTHING_SIGNED
    assert proofs.contradiction({}, judge) is None


def test_the_last_good_checkpoint_proves_and_those_before_it_are_covered() -> None:
    first, strange, last = checkpoint(3), checkpoint(5, "strange"), checkpoint(8)
    proofs = judged(first, strange, last)
    assert (proofs.good, proofs.signed, proofs.unverifiable, proofs.unsure) == (last, last.end, (5,), ())
    assert proofs.doubt is Doubt.NOTHING_OUTSIDE
    covered = judged(first, last, kept=last)
    assert (covered.doubt, covered.unverifiable, covered.trusted) == (None, (), True)


def test_what_another_secret_has_signed_behind_the_last_good_checkpoint_is_unsure() -> None:
    proofs = judged(checkpoint(3), checkpoint(5, "strange"), kept=checkpoint(9, "strange"))
    assert (proofs.unverifiable, proofs.unsure, proofs.trusted) == ((5, 9), (5, 9), False)
    assert proofs.doubt is Doubt.ANOTHER_SECRET
    assert proofs.signed.id == 3


def test_a_beginning_that_another_secret_has_signed_is_unsure_whatever_follows() -> None:
    beginning, last = checkpoint(3, "strange", pruned=True), checkpoint(8)
    proofs = judged(beginning, last, kept=last)
    assert (proofs.start, proofs.unsure, proofs.doubt) == (beginning.end, (3,), Doubt.ANOTHER_SECRET)


def test_what_is_kept_outside_proves_as_far_as_it_goes() -> None:
    proofs = judged(checkpoint(3), kept=checkpoint(8))
    assert (proofs.signed.id, proofs.doubt) == (8, None)
    assert judged(checkpoint(8), kept=checkpoint(3)).signed.id == 8
    assert judged(checkpoint(8), kept=checkpoint(8)).ahead(ChainEnd(3)) == {8: checkpoint(8).end.hash}


def test_the_hashes_ahead_are_those_behind_a_place_and_of_what_is_believed() -> None:
    ends = {row: checkpoint(row).end.hash for row in (3, 5, 8)}
    proofs = judged(checkpoint(3), checkpoint(5), kept=checkpoint(8))
    assert proofs.ahead(ChainEnd()) == ends
    assert proofs.ahead(ChainEnd(3)) == {row: ends[row] for row in (5, 8)}
    assert judged(checkpoint(3), kept=checkpoint(8, "forged")).ahead(ChainEnd()) == {3: ends[3]}


@pytest.mark.parametrize(
    ("rows", "kept", "found"),
    [
        ((5, 8), None, Breach(5, FORGED)),
        ((5, 8), 3, Breach(3, FORGED_OUTSIDE)),
        ((5, 8), 6, Breach(5, FORGED)),
        ((), 3, Breach(3, FORGED_OUTSIDE)),
    ],
)
def test_of_several_forged_checkpoints_the_first_is_named(
    rows: tuple[int, ...], kept: int | None, found: Breach
) -> None:
    forged = [checkpoint(row, "forged") for row in rows]
    outside = None if kept is None else checkpoint(kept, "forged")
    proofs = judged(checkpoint(2), *forged, kept=outside)
    assert proofs.forged == found
    assert proofs.contradiction({}, judge) == found


def test_of_several_rows_that_tell_of_forged_signatures_the_first_is_named() -> None:
    forged = checkpoint(3, "forged")
    proofs = judged(checkpoint(3))
    assert proofs.contradiction({9: forged, 6: forged, 7: forged}, judge) == Breach(6, TELLS_WRONG)
    assert judged(checkpoint(5, "forged")).contradiction({6: forged}, judge) == Breach(5, FORGED)
    assert judged(checkpoint(7, "forged")).contradiction({6: forged}, judge) == Breach(6, TELLS_WRONG)


def test_a_checkpoint_of_which_the_log_or_the_kept_one_tells_is_missed() -> None:
    assert judged(checkpoint(3)).contradiction({4: checkpoint(3)}, judge) is None
    assert judged(checkpoint(8)).contradiction({9: checkpoint(8), 4: checkpoint(3)}, judge) == Breach(3, GONE)
    assert judged(checkpoint(3), kept=checkpoint(8)).contradiction({}, judge) == Breach(8, GONE)
    assert judged(checkpoint(3), kept=checkpoint(8, "strange")).contradiction({}, judge) is None
    another = checkpoint(3, digest=9)
    assert judged(checkpoint(3)).contradiction({4: another}, judge) == Breach(3, UNSIGNED)


def test_what_was_pruned_is_missed_no_more() -> None:
    proofs = judged(checkpoint(5, pruned=True), checkpoint(8), kept=checkpoint(3))
    assert proofs.start == checkpoint(5).end
    assert proofs.contradiction({6: checkpoint(3), 7: checkpoint(5)}, judge) is None
    assert proofs.contradiction({9: checkpoint(6)}, judge) == Breach(6, GONE)
    assert judged(checkpoint(4, pruned=True), checkpoint(5, pruned=True)).start.id == 5
    assert judged(kept=checkpoint(0, digest=9)).contradiction({}, judge) == Breach(0, GONE)


def test_checkpoints_of_another_log_behind_the_kept_one_are_strange() -> None:
    kept = checkpoint(5, log="a")

    def strange(*checkpoints: Checkpoint, kept: Checkpoint = kept) -> Breach | None:
        return judged(checkpoint(5, log="a"), *checkpoints, kept=kept).contradiction({}, judge)

    assert strange(checkpoint(8, log="b"), checkpoint(9, log="c")) == Breach(8, STRANGE)
    assert strange(checkpoint(8, log="a")) is None
    assert strange(checkpoint(8)) is None
    assert strange(checkpoint(8, pruned=True)) == Breach(8, STRANGE)
    assert strange(checkpoint(4, log="b")) is None
    assert strange(checkpoint(8, log="b"), kept=checkpoint(5)) is None
    assert strange(checkpoint(8, log="b"), kept=attrs.evolve(kept, signature=b"strange")) is None


@pytest.mark.parametrize("field", ["row", "hash", "signed_at", "pruned", "signer", "proof"])
def test_what_is_told_of_a_checkpoint_makes_the_same_again_and_nothing_else_does(field: str) -> None:
    signed = checkpoint(3, log="a", pruned=True)
    told = signed.told()
    assert Checkpoint.of(told) == signed
    assert Checkpoint.of(told | {"accepted": True}) == signed
    assert Checkpoint.of({name: value for name, value in told.items() if name != field}) is None
    assert Checkpoint.of(told | {field: None}) is None
    assert Checkpoint.of(told | {"proof": "no hex"}) is None
    assert (signed.log, signed.time) == ("a", "2026-01-31T00:00:00+00:00")
    assert (checkpoint(3).log, checkpoint(3).time) == ("", checkpoint(3).created_at)
