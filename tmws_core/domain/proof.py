"""What the checkpoints of the audit log prove, and what is missing to a proof."""

import enum
from collections.abc import Callable, Mapping, Sequence

import attrs

from tmws_core.domain.chain import UNSIGNED, Breach, ChainEnd, Checkpoint

Judge = Callable[[Checkpoint], bool | None]
"""Tells whether the signature of a checkpoint is right, or None where its secret is not known."""

FORGED = "has a checkpoint whose signature is wrong"
GONE = "was signed, and its checkpoint is gone from the database"
STRANGE = "is signed as one of another log than the position that is kept outside of the database"
FORGED_OUTSIDE = "is kept outside of the database as signed, with a signature that is wrong"


class Doubt(enum.Enum):
    """Why a log in which nothing is wrong is not proven to be what was written."""

    NOTHING_SIGNED = "nothing_signed"
    ANOTHER_SECRET = "another_secret"  # noqa: S105 - the name of a doubt
    NOTHING_OUTSIDE = "nothing_outside"


@attrs.frozen(kw_only=True)
class Proofs:
    """The checkpoints in the database, the one that is `kept` outside of it, and what their signatures say.

    `good` is the last good one in the database, `forged` the first wrong one; those of another secret are
    `unverifiable`. The kept one is `trusted` if its signature is right.
    """

    checkpoints: tuple[Checkpoint, ...]
    kept: Checkpoint | None
    good: Checkpoint | None
    forged: Breach | None
    unverifiable: tuple[int, ...]
    trusted: bool

    @classmethod
    def judged(cls, checkpoints: Sequence[Checkpoint], kept: Checkpoint | None, judge: Judge) -> "Proofs":
        """Return what the checkpoints, in the order of their rows, are worth."""
        said = [(each, judge(each)) for each in checkpoints]
        forged = [Breach(each.end.id, FORGED) for each, right in said if right is False]
        right_outside = judge(kept) if kept else None
        if kept and right_outside is False:
            forged.append(Breach(kept.end.id, FORGED_OUTSIDE))
        unknown = {each.end.id for each, right in said if right is None}
        if kept and right_outside is None:
            unknown.add(kept.end.id)
        good = next((each for each, right in reversed(said) if right), None)
        return cls(
            checkpoints=tuple(checkpoints),
            kept=kept,
            good=good,
            forged=min(forged, key=_row, default=None),
            unverifiable=tuple(sorted(unknown)),
            trusted=bool(right_outside),
        )

    @property
    def signed(self) -> ChainEnd:
        """Return the last place that a good signature proves, in the database or outside of it."""
        ends = [each.end for each in (self.good, self.kept if self.trusted else None) if each]
        return max(ends, key=lambda end: end.id, default=ChainEnd())

    @property
    def start(self) -> ChainEnd:
        """Return the place behind which the log begins: the last that was pruned."""
        return start_of(self.checkpoints)

    @property
    def unsure(self) -> tuple[int, ...]:
        """Return the rows of the checkpoints of another secret that no good one covers.

        That nothing was before the place where the log begins is what only its own checkpoint tells.
        """
        return tuple(row for row in self.unverifiable if row > self.signed.id or row == self.start.id)

    @property
    def doubt(self) -> Doubt | None:
        """Tell what is missing to a proof of a log in which nothing is wrong."""
        if self.unsure:
            return Doubt.ANOTHER_SECRET
        if self.good is None and not self.trusted:
            return Doubt.NOTHING_SIGNED
        return None if self.trusted else Doubt.NOTHING_OUTSIDE

    def ahead(self, start: ChainEnd) -> dict[int, bytes]:
        """Return the hashes that the rows behind a place must have, by their ids."""
        ends = [each.end for each in self.checkpoints]
        if self.kept is not None and self.trusted:
            ends.append(self.kept.end)
        return {end.id: end.hash for end in ends if end.id > start.id}

    def contradiction(self, told: Mapping[int, Checkpoint], judge: Judge) -> Breach | None:
        """Return the first row that contradicts the checkpoints of the database.

        `told` are the checkpoints of which rows of the log tell, by the ids of these rows. A checkpoint that was signed
        is there until the rows up to it are pruned.
        """
        there = {each.end for each in self.checkpoints}
        wrong = [each for each in (self.forged, self._strange()) if each]
        if self.kept is not None and self.trusted and self._misses(self.kept, there):
            wrong.append(Breach(self.kept.end.id, self._why(self.kept)))
        for row, each in told.items():
            if judge(each) is False:
                wrong.append(Breach(row, "tells of a signature that is wrong"))
            elif self._misses(each, there):
                wrong.append(Breach(each.end.id, self._why(each)))
        return min(wrong, key=_row, default=None)

    def _strange(self) -> Breach | None:
        """Return the first row at which a checkpoint is one of another log than the kept one.

        Rows of another log do not follow from those of this one, but behind what was pruned anything could follow.
        """
        if self.kept is None or not self.trusted or not self.kept.log:
            return None
        others = (each for each in self.checkpoints if each.log != self.kept.log and (each.log or each.pruned))
        return next((Breach(each.end.id, STRANGE) for each in others if each.end.id > self.kept.end.id), None)

    def _misses(self, signed: Checkpoint, there: set[ChainEnd]) -> bool:
        """Tell whether the database should have a checkpoint and does not; pruning removes those before the start."""
        start = self.start
        return signed.end.id >= start.id and signed.end not in there | {start}

    def _why(self, missing: Checkpoint) -> str:
        ids = {each.end.id for each in self.checkpoints}
        return UNSIGNED if missing.end.id in ids else GONE


def start_of(checkpoints: Sequence[Checkpoint]) -> ChainEnd:
    """Return the place behind which a log with these checkpoints, in the order of their rows, begins."""
    return next((each.end for each in reversed(checkpoints) if each.pruned), ChainEnd())


def _row(breach: Breach) -> int:
    return breach.id
