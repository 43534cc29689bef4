"""Vectors as the rows of one matrix, found by document number."""

from array import array
from collections.abc import Mapping

import attrs
import numpy as np
import numpy.typing as npt

from tmws_core.domain.embedding import Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import ModelMismatch

ABSENT = -1

GROWTH = 1.5
"""Factor by which the room for rows grows, so that adding rows one by one copies each of them about three times."""

FULL_SHARE = 0.25
"""Share of the rows above which multiplying all of them beats gathering those that are allowed.

384 dimensions, one thread, ms to gather 10 / 20 / 30 / 50 % and to multiply all: 0.2 / 0.4 / 0.8 / 2.3 and 1.0 of
20,000 rows; 2.3 / 5.4 / 6.8 / 10.7 and 5.3 of 100,000.
"""

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

    @property
    def size(self) -> int:
        """Count the bytes of memory."""
        return self.rows.nbytes + self.places.nbytes

    def missing(self, allowed: "array[int]") -> list[int]:
        """Return which of the allowed documents have no row."""
        numbers, places = self._located(allowed)
        absent: list[int] = numbers[places == ABSENT].tolist()
        return absent

    def with_vectors(self, vectors: Mapping[int, Vector]) -> "Matrix":
        """Return the matrix with rows for these documents, none of which has one yet.

        Only the newest matrix may be added to.
        """
        if not vectors:
            return self
        added = np.frombuffer(b"".join(vector.data for vector in vectors.values()), "<f4").reshape(len(vectors), -1)
        count = self.count + len(vectors)
        rows = self.rows
        if len(rows) < count:
            rows = np.empty((int(count * GROWTH), added.shape[1]), np.float32)
            if self.count:
                rows[: self.count] = self.rows[: self.count]
        rows[self.count : count] = added
        places = self._places_up_to(max(vectors))
        places[list(vectors)] = np.arange(self.count, count)
        return Matrix(rows, places, count)

    def only(self, allowed: "array[int]") -> "Matrix":
        """Return a matrix with the rows of the allowed documents, in arrays of its own."""
        numbers, places = self._present(allowed)
        kept = np.full(len(self.places), ABSENT, np.int32)
        kept[numbers] = np.arange(len(numbers))
        return Matrix(self.rows[places], kept, len(numbers))

    def complete(self, allowed: "array[int]", query: Vector, limit: int) -> list[Hit] | None:
        """Return the nearest allowed documents, or None if one of the allowed has no row."""
        _, places = self._located(allowed)
        return None if (places == ABSENT).any() else self.nearest(allowed, query, limit)

    def nearest(self, allowed: "array[int]", query: Vector, limit: int) -> list[Hit]:
        """Return the `limit` allowed documents with the highest scores, best first; ties go to the higher number."""
        numbers, places = self._present(allowed)
        if not len(numbers):
            return []
        scores = self._scores(places, query)
        best = _highest(scores, limit)
        order = best[np.lexsort((numbers[best], scores[best]))[::-1][:limit]]
        return [
            Hit(number, score) for number, score in zip(numbers[order].tolist(), scores[order].tolist(), strict=True)
        ]

    def _scores(self, places: Places, query: Vector) -> Rows:
        dimension = self.rows.shape[1]
        if query.dimension != dimension:
            raise ModelMismatch(
                part="exact",
                reason=f"the query has {query.dimension} dimensions, the vectors have {dimension}",
                hint="Ask with the embedding model that made the vectors",
            )
        direction = np.frombuffer(query.data, "<f4")
        if len(places) > FULL_SHARE * self.count:
            every: Rows = self.rows[: self.count] @ direction
            return every[places]
        some: Rows = self.rows[places] @ direction
        return some

    def _present(self, allowed: "array[int]") -> tuple[Numbers, Places]:
        numbers, places = self._located(allowed)
        present = places != ABSENT
        return (numbers, places) if present.all() else (numbers[present], places[present])

    def _located(self, allowed: "array[int]") -> tuple[Numbers, Places]:
        """Return the allowed documents, and the row of each or ABSENT."""
        numbers: Numbers = np.frombuffer(allowed, np.int64)
        within = np.searchsorted(numbers, len(self.places))
        places = np.full(len(numbers), ABSENT, np.int32)
        places[:within] = self.places[numbers[:within]]
        places[places >= self.count] = ABSENT
        return numbers, places

    def _places_up_to(self, document: int) -> Places:
        if document < len(self.places):
            return self.places
        places = np.full(int((document + 1) * GROWTH), ABSENT, np.int32)
        places[: len(self.places)] = self.places
        return places


def _highest(scores: Rows, limit: int) -> npt.NDArray[np.intp]:
    """Return where the `limit` highest scores are, in no order, and all others that equal the lowest of them."""
    if len(scores) <= limit:
        return np.arange(len(scores))
    lowest = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    return np.flatnonzero(scores >= lowest)
