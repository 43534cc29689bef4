"""Vectors as the rows of one matrix, found by document number."""

from array import array
from collections.abc import Mapping

import attrs
import numpy as np
import numpy.typing as npt

from tmws_adapters.exact.codes import Codes, Floats, Places, reaching
from tmws_core.domain.embedding import Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import ModelMismatch

ABSENT = 2**32 - 1
"""Stands for the place of a document without a row; greater than any place."""

GROWTH = 1.5
"""Factor by which the room for rows grows, so that adding rows one by one copies each of them about three times."""

FULL_SHARE = 0.25
"""Share of the rows above which multiplying all of them beats gathering those that are asked for.

384 dimensions, one thread, ms to gather 10 / 20 / 30 / 50 % and to multiply all: 0.2 / 0.4 / 0.8 / 2.3 and 1.0 of
20,000 rows; 2.3 / 5.4 / 6.8 / 10.7 and 5.3 of 100,000.
"""

ENCODED = 2_500_000
"""Values to read, twice those that are gathered, from which on it is faster to look through codes first.

One thread, cold caches: break-even at 5,000 to 8,000 rows or 3,000 of 100,000 with 384 dimensions, at 3,000 to 5,000
rows or 1,500 of 50,000 with 1,024.
"""

Numbers = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Matrix:
    """Rows `0 .. count` of `rows` and their codes; `places[document]` tells the row of a document.

    The last place is always ABSENT, and stands for all documents beyond. Adding makes a new Matrix. Both may share
    their arrays, but what the old one can see never changes: new rows lie behind its `count`.
    """

    rows: Floats
    codes: Codes
    places: Places
    count: int

    @classmethod
    def empty(cls) -> "Matrix":
        """Return the matrix without rows."""
        return cls(np.empty((0, 0), np.float32), Codes.empty(0, 0), np.full(1, ABSENT, np.uint32), 0)

    @property
    def size(self) -> int:
        """Count the bytes of memory."""
        return self.rows.nbytes + self.codes.size + self.places.nbytes

    def missing(self, allowed: "array[int]") -> list[int]:
        """Return which of the allowed documents have no row."""
        numbers, places = self._located(allowed)
        absent: list[int] = numbers[places >= self.count].tolist()
        return absent

    def with_vectors(self, vectors: Mapping[int, Vector]) -> "Matrix":
        """Return the matrix with rows for these documents, none of which has one yet.

        Only the newest matrix may be added to.
        """
        if not vectors:
            return self
        added = np.frombuffer(b"".join(vector.data for vector in vectors.values()), "<f4").reshape(len(vectors), -1)
        count = self.count + len(vectors)
        rows, codes = self.rows, self.codes
        if len(rows) < count:
            rows, codes = self._grown(int(count * GROWTH), added.shape[1])
        rows[self.count : count] = added
        codes.put(self.count, added)
        places = self._places_up_to(max(vectors))
        places[list(vectors)] = np.arange(self.count, count)
        return Matrix(rows, codes, places, count)

    def only(self, allowed: "array[int]") -> "Matrix":
        """Return a matrix with the rows of the allowed documents, in arrays of its own."""
        numbers, places = self._present(allowed)
        kept = np.full(len(self.places), ABSENT, np.uint32)
        kept[numbers] = np.arange(len(numbers))
        return Matrix(self.rows[places], self.codes.taken(places), kept, len(numbers))

    def complete(self, allowed: "array[int]", query: Vector, limit: int) -> list[Hit] | None:
        """Return the nearest allowed documents, or None if one of the allowed has no row."""
        numbers, places = self._located(allowed)
        return None if places.max() >= self.count else self._best(numbers, places, query, limit)

    def nearest(self, allowed: "array[int]", query: Vector, limit: int) -> list[Hit]:
        """Return the `limit` allowed documents with the highest scores, best first; ties go to the higher number."""
        numbers, places = self._present(allowed)
        return self._best(numbers, places, query, limit) if len(numbers) else []

    def _best(self, numbers: Numbers, places: Places, query: Vector, limit: int) -> list[Hit]:
        dimension = self.rows.shape[1]
        if query.dimension != dimension:
            raise ModelMismatch(
                part="exact",
                reason=f"the query has {query.dimension} dimensions, the vectors have {dimension}",
                hint="Ask with the embedding model that made the vectors",
            )
        direction = np.frombuffer(query.data, "<f4")
        read = self.count if self._reads_all(places) else 2 * len(places)
        if len(places) > limit and read * dimension >= ENCODED:
            chosen = self.codes.candidates(places, self.count, direction, limit)
            numbers, places = numbers[chosen], places[chosen]
        scores = self._scores(places, direction)
        if len(scores) > limit:
            best = reaching(scores, scores, limit)
            numbers, places = numbers[best], places[best]
        # Row by row, so that a score is the same whatever else is compared: pages of one search fit together.
        scores = np.vecdot(self.rows.take(places, 0), direction)
        # The numbers ascend, so that reversing a stable order puts the higher of two equals first.
        order = np.argsort(scores, kind="stable")[::-1][:limit]
        return list(map(Hit, numbers[order].tolist(), scores[order].tolist()))

    def _scores(self, places: Places, direction: Floats) -> Floats:
        if self._reads_all(places):
            every: Floats = self.rows[: self.count] @ direction
            return every.take(places)
        some: Floats = self.rows.take(places, 0) @ direction
        return some

    def _reads_all(self, places: Places) -> bool:
        return len(places) > FULL_SHARE * self.count

    def _present(self, allowed: "array[int]") -> tuple[Numbers, Places]:
        numbers, places = self._located(allowed)
        present = places < self.count
        return numbers[present], places[present]

    def _located(self, allowed: "array[int]") -> tuple[Numbers, Places]:
        """Return the allowed documents, and the row of each: `count` or more where there is none."""
        numbers: Numbers = np.frombuffer(allowed, np.int64)
        return numbers, self.places.take(numbers, mode="clip")

    def _grown(self, room: int, dimension: int) -> tuple[Floats, Codes]:
        rows, codes = np.empty((room, dimension), np.float32), Codes.empty(room, dimension)
        if self.count:
            rows[: self.count] = self.rows[: self.count]
            codes.codes[: self.count] = self.codes.codes[: self.count]
            codes.facts[:, : self.count] = self.codes.facts[:, : self.count]
        return rows, codes

    def _places_up_to(self, document: int) -> Places:
        if document + 1 < len(self.places):
            return self.places
        places = np.full(int((document + 2) * GROWTH), ABSENT, np.uint32)
        places[: len(self.places)] = self.places
        return places
