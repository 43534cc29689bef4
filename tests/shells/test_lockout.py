"""Addresses that send wrong credentials have to wait; credentials that were good do not."""

from datetime import datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_adapters.system import SystemClock
from tmws_core.errors import LockedOut
from tmws_mcp.lockout import ADDRESSES, FAILURES, LONGEST_SECONDS, PROVEN, QUIET_SECONDS, Lockout

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@attrs.define
class Standing:
    """A clock that stands until it is moved."""

    seconds: float = 1000.0

    def now(self) -> datetime:
        return SystemClock().now()

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Standing:
    return Standing()


@pytest.fixture
def lockout(clock: Standing) -> Lockout:
    return Lockout(clock)


def wait(lockout: Lockout, address: str = HERE, credential: str = "wrong") -> float:
    """Return how long an address has to wait."""
    try:
        lockout.check(address, credential)
    except LockedOut as error:
        return error.retry_after
    return 0.0


def fail(lockout: Lockout, times: int, address: str = HERE) -> None:
    for _ in range(times):
        lockout.failed(address, "wrong")


def test_a_few_failures_cost_nothing(lockout: Lockout) -> None:
    fail(lockout, FAILURES - 1)
    assert wait(lockout) == 0


def test_waits_double_up_to_the_longest(lockout: Lockout, clock: Standing) -> None:
    fail(lockout, FAILURES - 1)
    waits = []
    for _ in range(12):
        fail(lockout, 1)
        waits.append(wait(lockout))
        clock.seconds += waits[-1]
        assert wait(lockout) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]


def test_other_addresses_do_not_wait(lockout: Lockout) -> None:
    fail(lockout, 50)
    assert wait(lockout) > 0
    assert wait(lockout, ELSEWHERE) == 0


def test_quiet_address_starts_anew(lockout: Lockout, clock: Standing) -> None:
    fail(lockout, FAILURES)
    clock.seconds += 1 + QUIET_SECONDS
    fail(lockout, 1)
    assert wait(lockout) == 2
    clock.seconds += 2 + QUIET_SECONDS + 0.001
    fail(lockout, FAILURES - 1)
    assert wait(lockout) == 0


def test_credential_that_was_good_does_not_wait_until_it_is_bad(lockout: Lockout) -> None:
    lockout.succeeded("good")
    fail(lockout, 50)
    assert wait(lockout, credential="good") == 0
    assert wait(lockout, credential="good but never seen") > 0
    lockout.failed(HERE, "good")
    assert wait(lockout, credential="good") > 0


def test_what_is_remembered_is_bounded(lockout: Lockout) -> None:
    fail(lockout, FAILURES, "first")
    fail(lockout, FAILURES, "second")
    lockout.succeeded("first")
    lockout.succeeded("second")
    for number in range(ADDRESSES - 1):
        fail(lockout, 1, f"address {number}")
    for number in range(PROVEN - 1):
        lockout.succeeded(f"credential {number}")
    assert wait(lockout, "first") == 0
    assert wait(lockout, "second") > 0
    fail(lockout, FAILURES)
    assert wait(lockout, credential="first") > 0
    assert wait(lockout, credential="second") == 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 400)), max_size=200))
def test_guesses_in_any_rhythm_are_few(rhythm: list[tuple[bool, float]]) -> None:
    """An address gets at most FAILURES guesses and one more each second, whatever it does."""
    clock = Standing()
    lockout, guesses = Lockout(clock), 0
    for patient, pause in rhythm:
        clock.seconds += wait(lockout) if patient else pause
        if wait(lockout) == 0:
            fail(lockout, 1)
            guesses += 1
        assert guesses <= FAILURES + (clock.seconds - 1000.0) / 1.0 + 1


def test_any_text_can_be_a_credential(lockout: Lockout) -> None:
    for text in ("", "\udcff", "\x00", "ä" * 10_000):
        lockout.succeeded(text)
        lockout.failed(HERE, text)
        lockout.check(ELSEWHERE, text)
