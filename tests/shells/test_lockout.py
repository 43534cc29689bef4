"""Addresses that send wrong credentials have to wait; good credentials never do."""

from datetime import datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_adapters.system import SystemClock
from tmws_core.errors import LockedOut
from tmws_mcp.lockout import ADDRESSES, FAILURES, LONGEST_SECONDS, QUIET_SECONDS, Lockout

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


def fail(lockout: Lockout, times: int = 1, address: str = HERE) -> float:
    """Send wrong credentials, and return how long the last one has to wait for an answer; 0.0 if it has one."""
    wait = 0.0
    for _ in range(times):
        try:
            lockout.failed(address)
            wait = 0.0
        except LockedOut as error:
            wait = error.retry_after
    return wait


def test_a_few_failures_cost_nothing(lockout: Lockout) -> None:
    assert fail(lockout, FAILURES) == 0


def test_waits_double_up_to_the_longest(lockout: Lockout, clock: Standing) -> None:
    fail(lockout, FAILURES - 1)
    waits = []
    for _ in range(12):
        assert fail(lockout) == 0
        waits.append(fail(lockout))
        clock.seconds += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]


def test_what_comes_while_an_address_waits_makes_it_wait_no_longer(lockout: Lockout, clock: Standing) -> None:
    fail(lockout, FAILURES)
    assert fail(lockout, 50) == 1
    clock.seconds += 1
    assert fail(lockout) == 0
    assert fail(lockout) == 2


def test_other_addresses_do_not_wait(lockout: Lockout) -> None:
    assert fail(lockout, 50) > 0
    assert fail(lockout, address=ELSEWHERE) == 0


def test_quiet_address_starts_anew(lockout: Lockout, clock: Standing) -> None:
    fail(lockout, FAILURES)
    clock.seconds += 1 + QUIET_SECONDS
    assert fail(lockout) == 0
    assert fail(lockout) == 2
    clock.seconds += 2 + QUIET_SECONDS + 0.001
    assert fail(lockout, FAILURES) == 0


def test_what_is_remembered_is_bounded(lockout: Lockout) -> None:
    fail(lockout, FAILURES, "first")
    fail(lockout, FAILURES, "second")
    for number in range(ADDRESSES - 1):
        fail(lockout, 1, f"address {number}")
    assert fail(lockout, address="second") > 0
    assert fail(lockout, address="first") == 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 400)), max_size=200))
def test_refusals_with_a_reason_are_few_in_any_rhythm(rhythm: list[tuple[bool, float]]) -> None:
    """An address learns at most FAILURES times what is wrong and once more each second, whatever it does."""
    clock = Standing()
    lockout, told = Lockout(clock), 0
    for patient, pause in rhythm:
        wait = fail(lockout)
        told += not wait
        assert told <= FAILURES + (clock.seconds - 1000.0) / 1.0 + 1
        clock.seconds += wait if patient else pause
