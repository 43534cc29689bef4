"""Times that a query names."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmws_core.domain.dates import MONTHS, period_in
from tmws_core.domain.text import passage

NOW = datetime(2024, 3, 13, 15, tzinfo=UTC)
SLACK = {"day": 0, "week": 3, "month": 15, "year": 182}
"""Days that a time so long ago may be off by."""

LEAP_DAY = datetime(2024, 2, 29, 15, tzinfo=UTC)

numbers = st.integers(0, 99_999)
years = st.one_of(numbers, st.integers(1900, 2099), st.sampled_from([0, 1, 9999, 10_000, 99_999]))
units = st.sampled_from(["day", "days", "week", "weeks", "month", "months", "year", "years"])
months = st.sampled_from(MONTHS)
moments = st.one_of(
    st.datetimes(timezones=st.timezones()),
    st.timezones().map(lambda zone: datetime.min.replace(tzinfo=zone)),
    st.timezones().map(lambda zone: datetime.max.replace(tzinfo=zone)),
)
queries = st.one_of(
    st.builds("on {:04}-{:02}-{:02}?".format, years, st.integers(0, 13), st.integers(0, 32)),
    st.builds("{} {} {}".format, st.integers(0, 32), months, years),
    st.builds("in {} {}, {}".format, months, st.integers(0, 32), years),
    st.builds("during {} {}".format, months, years),
    st.builds("last {} in {}".format, months, years),
    st.builds("{} {} ago".format, numbers, units),
    st.builds(
        "{} hundred and {} {} ago".format, *([st.sampled_from(["a", "nine", "ninety-nine", "twelve"])] * 2), units
    ),
    st.builds("{} {}".format, st.sampled_from(["last", "this"]), units),
    st.sampled_from(["today", "yesterday"]),
    st.text(max_size=40),
)


@given(queries, moments)
def test_any_time_at_any_moment_is_read_as_a_period_or_as_none(query: str, now: datetime) -> None:
    period = period_in(query, now)
    assert period is None or period.start < period.end


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.sampled_from(["{:%Y-%m-%d}", "{0.day} {0:%B %Y}"]))
def test_a_day_is_found_by_itself_alone(day: date, form: str) -> None:
    period = period_in(f"What happened on {form.format(day)}?", NOW)
    assert period is not None
    assert (period.start.date(), period.end - period.start) == (day, timedelta(days=1))


@pytest.mark.parametrize(
    "query",
    [
        "2023-02-29",
        "on 2023-02-29",
        "in 2023-02-29",
        "during 2023-13-01",
        "of 2023-00-10",
        "31 April",
        "April 31",
        "0000-01-01",
        "0000-..",
        "99999-12-31",
        "12023-05-08",
        "2023-05-081",
        "1,000 days ago",
        "1.5 years ago",
        "some days ago",
        "9999 years ago",
    ],
)
def test_a_day_that_does_not_exist_is_no_other_day(query: str) -> None:
    assert period_in(query, NOW) is None


def test_behind_a_day_that_does_not_exist_the_next_one_counts() -> None:
    period = period_in("not on 2023-02-29 but on 2023-03-02T10:00:00Z", NOW)
    assert period is not None
    assert period.start.date() == date(2023, 3, 2)


@pytest.mark.parametrize(
    ("query", "now", "middle"),
    [
        ("seven months ago", NOW, date(2023, 8, 13)),
        ("eleven days ago", NOW, date(2024, 3, 2)),
        ("twenty-one days ago", NOW, date(2024, 2, 21)),
        ("twenty one days ago", NOW, date(2024, 2, 21)),
        ("a hundred days ago", NOW, date(2023, 12, 4)),
        ("a hundred and twenty days ago", NOW, date(2023, 11, 14)),
        ("a couple of weeks ago", NOW, date(2024, 2, 28)),
        ("Ninety Years ago", NOW, date(1934, 3, 13)),
        ("a year ago", LEAP_DAY, date(2023, 2, 28)),
        ("four years ago", LEAP_DAY, date(2020, 2, 29)),
        ("a month ago", datetime(2024, 3, 31, tzinfo=UTC), date(2024, 2, 29)),
        ("a month ago", datetime(2024, 1, 31, tzinfo=UTC), date(2023, 12, 31)),
    ],
)
def test_a_time_ago_lies_in_the_middle_of_its_period(query: str, now: datetime, middle: date) -> None:
    period = period_in(query, now)
    assert period is not None
    last = (period.end - timedelta(days=1)).date()
    assert period.start.date() + (last - period.start.date()) / 2 == middle
    assert (last - period.start.date()).days == 2 * next(days for unit, days in SLACK.items() if unit in query.lower())


@pytest.mark.parametrize(
    ("query", "now", "first", "last"),
    [
        ("last month", datetime(2024, 1, 31, tzinfo=UTC), date(2023, 12, 1), date(2023, 12, 31)),
        ("last month", LEAP_DAY, date(2024, 1, 1), date(2024, 1, 31)),
        ("this month", LEAP_DAY, date(2024, 2, 1), date(2024, 2, 29)),
        ("last year", LEAP_DAY, date(2023, 1, 1), date(2023, 12, 31)),
        ("last week", datetime(2024, 1, 1, tzinfo=UTC), date(2023, 12, 25), date(2023, 12, 31)),
        ("last February", LEAP_DAY, date(2023, 2, 1), date(2023, 2, 28)),
        ("this February", LEAP_DAY, date(2024, 2, 1), date(2024, 2, 29)),
        ("in December 2099", NOW, date(2099, 12, 1), date(2099, 12, 31)),
    ],
)
def test_periods_end_with_their_month_and_year(query: str, now: datetime, first: date, last: date) -> None:
    period = period_in(query, now)
    assert period is not None
    assert (period.start.date(), (period.end - timedelta(days=1)).date()) == (first, last)


@given(st.datetimes(timezones=st.just(UTC)), st.timezones())
def test_a_moment_has_one_passage_in_every_time_zone(moment: datetime, zone: object) -> None:
    try:
        elsewhere = moment.astimezone(zone)  # type: ignore[arg-type]  # hypothesis types them as tzinfo
    except OverflowError:
        elsewhere = moment
    assert (
        passage("x", elsewhere)
        == passage("x", moment)
        == f"On {moment.day} {MONTHS[moment.month - 1]} {moment.year}, x"
    )


def test_a_query_full_of_number_words_is_read_in_time_that_grows_with_its_length() -> None:
    assert period_in("one hundred and " * 4000, NOW) is None
