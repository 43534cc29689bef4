"""Vectors in a quarter of their memory, close enough to tell which of them may be among the nearest."""

from math import inf
from typing import Self

import attrs
import numkong
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Places = npt.NDArray[np.uint32]
Indexes = npt.NDArray[np.intp]

STEPS = 127
"""The code of the largest value of a vector."""

SMALLEST, LARGEST = 1e-12, 1e12
"""Range of a vector's largest value in which products and squares stay within float32."""

ROUNDINGS = 16
"""Roundings in a bound besides those of sums over the dimensions: 15 were counted, each of half an epsilon."""

FULL_SHARE = 0.3
"""Share of the rows above which multiplying the codes of all beats gathering those that are asked for.

384 dimensions, one thread, ms to gather 10 / 20 / 35 / 50 % and to multiply all: 0.05 / 0.10 / 0.18 / 0.26 and 0.30 of
20,000 rows; 0.3 / 1.0 / 2.0 / 2.7 and 1.6 of 100,000.
"""


@attrs.frozen(eq=False)
class Codes:
    """Rows as small whole numbers, and how far those may be from the row.

    A row is `scale * codes + rest`. The columns of `facts` hold the scale, a bound of |rest| that leaves room for
    rounding, and |scale * codes|. The bound is infinite for a row out of range, whose codes are zeros.
    """

    codes: Bytes
    facts: Floats

    @classmethod
    def empty(cls, room: int, dimension: int) -> Self:
        """Return room for so many rows."""
        return cls(np.empty((room, dimension), np.int8), np.empty((3, room), np.float32))

    @property
    def size(self) -> int:
        """Count the bytes of memory."""
        return self.codes.nbytes + self.facts.nbytes

    def put(self, start: int, rows: Floats) -> None:
        """Encode these rows as those from `start` on."""
        end = start + len(rows)
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        usable = (largest >= SMALLEST) & (largest <= LARGEST)
        largest[~usable] = inf
        steps = rows * (STEPS / largest)[:, np.newaxis]
        codes = np.rint(steps)
        steps -= codes
        scale = np.where(usable, largest, 0) / STEPS
        length, rest = np.sqrt(np.vecdot(codes, codes)), np.sqrt(np.vecdot(steps, steps))
        rest += (rows.shape[1] + ROUNDINGS) * np.finfo(np.float32).eps * (length + rest)
        self.codes[start:end] = codes
        self.facts[:, start:end] = scale, np.where(usable, scale * rest, inf), scale * length

    def taken(self, places: Places) -> Self:
        """Return the codes of the rows at these places."""
        return type(self)(self.codes.take(places, 0), self.facts.take(places, 1))

    def candidates(self, places: Places, count: int, direction: Floats, limit: int) -> Indexes:
        """Return which of these places may be among the `limit` whose rows have the highest products with a direction.

        The `limit`-th highest of their lowest possible products is reached by as many rows, so that one which cannot
        reach it is not among the best. There are more places than `limit`, and `count` rows in all.
        """
        query = self.empty(1, len(direction))
        query.put(0, direction[np.newaxis])
        if query.facts[1, 0] == inf:
            return np.arange(len(places))
        if len(places) > FULL_SHARE * count:
            lowest, highest = _bounds(self.codes[:count], self.facts[:, :count], query, direction)
            return reaching(lowest.take(places), highest.take(places), limit)
        some = self.taken(places)
        return reaching(*_bounds(some.codes, some.facts, query, direction), limit)


def reaching(lowest: Floats, highest: Floats, limit: int) -> Indexes:
    """Return where `highest` reaches the `limit`-th highest of `lowest`, which has at least so many; in order."""
    start = len(lowest) - limit
    return np.flatnonzero(highest >= np.partition(lowest, start)[start])


def _bounds(codes: Bytes, facts: Floats, query: Codes, direction: Floats) -> tuple[Floats, Floats]:
    """Return the lowest and the highest product that each row may have with the direction, encoded as the query.

    With x = s * c + r and the direction q = t * d + p, x * q is s * t * (c * d) + r * q + s * c * p. The last two are
    not greater than |r| * |q| and |s * c| * |p|.
    """
    middle = np.empty((1, len(codes)), np.float32)
    numkong.cdist(query.codes, codes, "dot", out=middle)
    scale, rest, length = facts
    middle *= scale
    middle *= query.facts[0, 0]
    error = rest * np.linalg.norm(direction)
    error += length * query.facts[1, 0]
    return (middle - error)[0], (middle + error)[0]
