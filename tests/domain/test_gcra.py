"""How often something may be done, against counting every request."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.domain.gcra import interval, take

SECOND = 1_000_000_000

rates = st.tuples(st.integers(1, 50), st.floats(0.001, 100))
pauses = st.lists(st.one_of(st.just(0), st.integers(0, 200 * SECOND), st.integers(0, SECOND // 10)), max_size=150)


def moments_of(pauses: list[int]) -> list[int]:
    now, moments = 0, []
    for pause in pauses:
        now += pause
        moments.append(now)
    return moments


def taken(moments: list[int], requests: int, seconds: float) -> list[int]:
    """Return the moments at which a request was let through."""
    arrival, through = 0, []
    for now in moments:
        arrival, wait = take(arrival, now, requests, seconds)
        if not wait:
            through.append(now)
    return through


@given(rates, pauses)
def test_no_stretch_of_time_has_more_than_a_burst_and_what_is_given_back_in_it(
    rate: tuple[int, float], pauses: list[int]
) -> None:
    requests, seconds = rate
    through = taken(moments_of(pauses), requests, seconds)

    for first, begin in enumerate(through):
        for count, end in enumerate(through[first:], 1):
            assert count <= requests + requests * (end - begin) / SECOND / seconds + 1e-9


@given(rates, pauses)
def test_what_is_refused_is_let_through_after_the_wait_and_not_sooner(
    rate: tuple[int, float], pauses: list[int]
) -> None:
    requests, seconds = rate
    arrival = 0
    for now in moments_of(pauses):
        former = arrival
        arrival, wait = take(former, now, requests, seconds)
        if wait:
            assert arrival == former
            again = now + round(wait * SECOND)
            assert take(arrival, again, requests, seconds)[1] == 0
            assert take(arrival, again - 1, requests, seconds)[1] > 0


@given(rates, st.integers(0, 10**18))
def test_all_requests_of_a_period_may_come_at_once_and_one_more_may_not(rate: tuple[int, float], now: int) -> None:
    requests, seconds = rate
    assert taken([now] * (requests + 1), requests, seconds) == [now] * requests


@given(rates)
def test_a_steady_caller_at_the_rate_is_never_refused(rate: tuple[int, float]) -> None:
    requests, seconds = rate
    moments = [number * interval(requests, seconds) for number in range(3 * requests)]
    assert taken(moments, requests, seconds) == moments


@given(rates)
def test_after_a_burst_one_request_comes_back_each_interval(rate: tuple[int, float]) -> None:
    requests, seconds = rate
    step = interval(requests, seconds)
    through = taken([0] * requests + [step * number // 2 for number in range(1, 21)], requests, seconds)
    assert {later - earlier for earlier, later in pairwise(through[requests:])} == {step}


@pytest.mark.parametrize(("requests", "seconds", "nanoseconds"), [(100, 60.0, 600_000_000), (3, 1.0, 333_333_334)])
def test_the_interval_never_gives_a_period_more(requests: int, seconds: float, nanoseconds: int) -> None:
    assert interval(requests, seconds) == nanoseconds
