"""Vectors as the rows of one matrix, found by document number."""

from array import array
from collections.abc import Mapping

import attrs
import numpy as np
import numpy.typing as npt

from tmws_core.domain.embedding import Vector
from tmws_core.domain.ranking import Hit

ABSENT = -1

GROWTH = 1.5
"""Factor by which the room for rows grows, so that adding rows one by one copies each of them about three times."""

FULL_SHARE = 0.3
"""Share of the rows above which multiplying all of them beats gathering some."""

Rows = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]


@attrs.frozen(eq=False)
class Matrix:
    """Rows `0 .. count` of `rows`, of which `places[document]` tells the one of a document.

    Adding makes a new Matrix. Both may share their arrays, but what the old one can see never changes: new rows lie
    behind its `count`.
    """

    rows: Rows
    places: Places
    count: int

    @classmethod
    def empty(cls) -> "Matrix":
        """Return the matrix without rows."""
        return cls(np.empty((0, 0), np.float32), np.empty(0, np.int32), 0)

    def missing(self, allowed: "array[int]") -> list[int]:
        """Return which of the allowed documents have no row."""
        numbers = _numbers(allowed)
        absent: list[int] = numbers[self._places_of(numbers) == ABSENT].tolist()
        return absent

    def with_vectors(self, vectors: Mapping[int, Vector]) -> "Matrix":
        """Return the matrix with rows for these documents, none of which has one yet."""
        if not vectors:
            return self
        added = np.frombuffer(b"".join(vector.data for vector in vectors.values()), "<f4").reshape(len(vectors), -1)
        count = self.count + len(vectors)
        rows = self.rows
        if len(rows) < count:
            rows = np.empty((int(count * GROWTH), added.shape[1]), np.float32)
            rows[: self.count] = self.rows[: self.count]
        rows[self.count : count] = added
        places = self._room_for(max(vectors))
        places[list(vectors)] = np.arange(self.count, count)
        return Matrix(rows, places, count)

    def only(self, allowed: "array[int]") -> "Matrix":
        """Return a matrix with the rows of the allowed documents."""
        numbers = _numbers(allowed)
        found = self._places_of(numbers)
        kept = numbers[found != ABSENT]
        places = np.full(len(self.places), ABSENT, np.int32)
        places[kept] = np.arange(len(kept))
        return Matrix(self.rows[found[found != ABSENT]], places, len(kept))

    def nearest(self, allowed: "array[int]", query: Vector, limit: int) -> list[Hit]:
        """Return the `limit` allowed documents with the highest scores, best first; ties go to the higher number."""
        numbers = _numbers(allowed)
        found = self._places_of(numbers)
        present = found != ABSENT
        numbers, found = numbers[present], found[present]
        scores = self._scores(found, np.frombuffer(query.data, "<f4"))
        best = _highest(scores, limit)
        order = np.lexsort((numbers[best], scores[best]))[::-1][:limit]
        chosen = best[order]
        return [
            Hit(number, score) for number, score in zip(numbers[chosen].tolist(), scores[chosen].tolist(), strict=True)
        ]

    def _scores(self, found: Places, query: Rows) -> Rows:
        if len(found) > FULL_SHARE * self.count:
            return (self.rows[: self.count] @ query)[found]
        return self.rows[found] @ query

    def _places_of(self, numbers: Numbers) -> Places:
        """Return the row of each document, ABSENT where it has none in this matrix."""
        places = np.full(len(numbers), ABSENT, np.int32)
        known = numbers < len(self.places)
        places[known] = self.places[numbers[known]]
        places[places >= self.count] = ABSENT
        return places

    def _room_for(self, document: int) -> Places:
        if document < len(self.places):
            return self.places
        places = np.full(int((document + 1) * GROWTH), ABSENT, np.int32)
        places[: len(self.places)] = self.places
        return places


def _numbers(allowed: "array[int]") -> Numbers:
    return np.frombuffer(allowed, np.int64)


def _highest(scores: Rows, limit: int) -> npt.NDArray[np.intp]:
    """Return where the `limit` highest scores are, in no order, and all others that equal the lowest of them."""
    if len(scores) <= limit:
        return np.arange(len(scores))
    threshold = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    return np.flatnonzero(scores >= threshold)
