"""What exact search by codes finds, against products in float64."""

from array import array

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmws_adapters.exact.codes import LARGEST, SMALLEST, Codes
from tmws_adapters.exact.matrix import ENCODED, Matrix
from tmws_core.domain.embedding import Vector

ROUNDING = 1e-5
"""Relative to the norms of the vectors: what float32 may lose in a product of 1,024 dimensions."""

Rows = npt.NDArray[np.float32]


def rows_of(kind: str, count: int, dimension: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, dimension))
    match kind:
        case "alike":
            rows = rows[:1] + 0.001 * rows
        case "correlated":
            rows = random.standard_normal((count, 5)) @ random.standard_normal((5, dimension)) + 0.1 * rows
        case "repeated":
            rows = rows[random.integers(0, count // 3 + 1, count)]
        case "scaled":
            rows *= 10.0 ** random.integers(-18, 15, (count, 1))
        case "sparse":
            rows *= random.random((count, dimension)) < 0.1
        case "spiky":
            rows[:, 0] *= 1000
        case "integral":
            rows = np.rint(rows)
    return rows.astype(np.float32)


def exact(rows: Rows, query: Rows) -> npt.NDArray[np.float64]:
    products: npt.NDArray[np.float64] = rows.astype(np.float64) @ query.astype(np.float64)
    return products


def filled(rows: Rows) -> Matrix:
    return Matrix.empty().with_vectors({number: Vector(row.tobytes()) for number, row in enumerate(rows, 1)})


KINDS = st.sampled_from(["alike", "correlated", "even", "integral", "repeated", "scaled", "sparse", "spiky"])
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=300, deadline=None)
@given(
    kind=KINDS,
    count=st.integers(2, 300),
    dimension=st.integers(1, 100),
    share=st.floats(0.1, 1),
    seed=SEEDS,
    data=st.data(),
)
def test_the_nearest_are_always_among_the_candidates(
    *, kind: str, count: int, dimension: int, share: float, seed: int, data: st.DataObject
) -> None:
    rows = rows_of(kind, count, dimension, seed)
    query = rows_of(kind, count, dimension, seed + 1)[0]
    asked = np.flatnonzero(np.random.default_rng(seed).random(count) < share)
    if len(asked) < 2:
        asked = np.arange(count)
    limit = data.draw(st.integers(1, len(asked) - 1))
    codes = Codes.empty(count + 3, dimension)
    codes.put(0, rows[: count // 2])
    codes.put(count // 2, rows[count // 2 :])

    found = codes.candidates(asked.astype(np.uint32), count, query, limit)

    scores = exact(rows[asked], query)
    assert set(np.flatnonzero(scores >= np.sort(scores)[-limit])) <= set(found)
    assert np.all(np.diff(found) > 0)


@settings(max_examples=20, deadline=None)
@given(kind=KINDS, limit=st.integers(1, 300), share=st.sampled_from([0.2, 0.6, 1.0]), seed=SEEDS)
def test_a_search_through_codes_ranks_as_by_hand(kind: str, limit: int, share: float, seed: int) -> None:
    dimension = 1024
    count = int(ENCODED / dimension * max(1, 0.5 / share)) + 100
    rows = rows_of(kind, count, dimension, seed)
    query = rows_of(kind, count, dimension, seed + 1)[0]
    allowed = 1 + np.sort(np.random.default_rng(seed).permutation(count)[: int(count * share)])

    hits = filled(rows).nearest(array("q", allowed.tolist()), Vector(query.tobytes()), limit)

    found = np.array([hit.document for hit in hits])
    scores = exact(rows, query)
    doubt = ROUNDING * np.linalg.norm(rows.astype(np.float64), axis=1) * np.linalg.norm(query.astype(np.float64))
    lowest, highest = scores - doubt, scores + doubt
    others = np.setdiff1d(allowed, found) - 1
    assert len(found) == limit == len(set(found))
    assert set(found) <= set(allowed)
    assert np.all(np.abs(np.array([hit.score for hit in hits]) - scores[found - 1]) <= doubt[found - 1])
    assert np.all(highest[found[:-1] - 1] >= lowest[found[1:] - 1])
    assert np.all(highest[found - 1].min() >= lowest[others])
    assert hits == sorted(hits, key=lambda hit: (-hit.score, -hit.document))


def test_of_equal_vectors_the_newest_are_found_through_codes() -> None:
    row = rows_of("even", 1, 1024, 1)[0]
    matrix = filled(np.tile(row, (4000, 1)))

    hits = matrix.nearest(array("q", range(1, 3001)), Vector(row.tobytes()), 5)

    assert [hit.document for hit in hits] == [3000, 2999, 2998, 2997, 2996]


def test_few_candidates_are_left_of_vectors_that_point_anywhere() -> None:
    rows = rows_of("even", 5000, 384, 2)
    codes = Codes.empty(5000, 384)
    codes.put(0, rows)

    found = codes.candidates(np.arange(5000, dtype=np.uint32), 5000, rows[7], 50)

    assert len(found) < 500


def test_vectors_that_codes_hold_exactly_still_get_room_for_rounding() -> None:
    rows = np.random.default_rng(7).integers(-126, 127, (50, 384)).astype(np.float32)
    rows[:, 0] = 127
    codes = Codes.empty(50, 384)
    codes.put(0, rows)

    assert np.array_equal(codes.codes, rows)
    assert np.all(codes.facts[1] > 384 * np.finfo(np.float32).eps * np.linalg.norm(rows, axis=1))


def test_a_vector_out_of_range_is_always_a_candidate_and_spoils_no_other() -> None:
    rows = rows_of("even", 1000, 384, 3)
    rows[5] = 0
    rows[6] *= 2 * LARGEST
    rows[7] *= SMALLEST / 10
    codes = Codes.empty(1000, 384)
    codes.put(0, rows)

    found = codes.candidates(np.arange(1000, dtype=np.uint32), 1000, rows[9], 10)

    assert {5, 6, 7, 9} <= set(found)
    assert len(found) < 200


@pytest.mark.parametrize("factor", [0, SMALLEST / 10, 2 * LARGEST])
def test_a_query_out_of_range_leaves_all_as_candidates(factor: float) -> None:
    rows = rows_of("even", 100, 64, 4)
    codes = Codes.empty(100, 64)
    codes.put(0, rows)

    found = codes.candidates(np.arange(100, dtype=np.uint32), 100, rows[1] * np.float32(factor), 10)

    assert found.tolist() == list(range(100))


def test_vectors_added_one_after_another_have_the_codes_of_those_added_at_once() -> None:
    rows = rows_of("scaled", 40, 16, 5)
    grown = Matrix.empty()
    for number, row in enumerate(rows, 1):
        grown = grown.with_vectors({number: Vector(row.tobytes())})
    at_once = filled(rows)

    kept = grown.only(array("q", range(11, 31)))

    assert np.array_equal(grown.codes.codes[:40], at_once.codes.codes[:40])
    assert np.array_equal(grown.codes.facts[:, :40], at_once.codes.facts[:, :40])
    assert np.array_equal(kept.codes.codes, at_once.codes.codes[10:30])
    assert np.array_equal(kept.codes.facts, at_once.codes.facts[:, 10:30])


def test_the_size_counts_codes_and_vectors() -> None:
    small, large = filled(rows_of("even", 100, 384, 6)), filled(rows_of("even", 1100, 384, 6))

    assert large.size - small.size == pytest.approx(1500 * (384 * 5 + 12 + 4), rel=0.01)
