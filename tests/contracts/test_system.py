"""The contract of Clock and Ids."""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from tmws_adapters.system import SystemClock, SystemIds
from tmws_core.ports.system import Clock, Ids

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@attrs.define
class ScriptedClock:
    """Tells the times that it was given."""

    times: Iterator[datetime]

    def now(self) -> datetime:
        return next(self.times)

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def ids(clock: Clock) -> Ids:
    return SystemIds(clock)


def test_time_is_in_utc(clock: Clock) -> None:
    assert clock.now().utcoffset() == timedelta(0)


def test_monotonic_time_does_not_step_back(clock: Clock) -> None:
    readings = [clock.monotonic() for _ in range(1000)]

    assert readings == sorted(readings)


def test_ids_are_version_7_of_the_standard_variant(ids: Ids) -> None:
    made = uuid.UUID(ids.new())

    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_an_id_begins_with_the_milliseconds_of_its_time() -> None:
    ids = SystemIds(ScriptedClock(iter([START])))

    assert uuid.UUID(ids.new()).int >> 80 == START.timestamp() * 1000


def test_ids_sort_in_the_order_in_which_they_were_made(ids: Ids) -> None:
    made = [ids.new() for _ in range(10_000)]

    assert made == sorted(set(made))


def test_ids_rise_while_the_clock_steps_back() -> None:
    times = [START, START - timedelta(hours=1), START - timedelta(days=1), START + timedelta(milliseconds=1)]
    ids = SystemIds(ScriptedClock(iter(times)))

    made = [ids.new() for _ in times]

    assert made == sorted(set(made))


def test_threads_never_get_the_same_id(ids: Ids) -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        mine.extend(ids.new() for _ in range(2000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each for mine in made for each in mine}) == 8000
    assert all(mine == sorted(mine) for mine in made)
