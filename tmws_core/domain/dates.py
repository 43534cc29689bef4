"""Times that a query names: "in May 2023", "last week", "on 2024-03-05", "three days ago"."""

import re
from datetime import UTC, date, datetime, time, timedelta

import attrs

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}

_MONTH = "|".join(_MONTHS)
_YEAR = r"(?:19|20)\d\d"
_ISO = re.compile(r"\b((?:19|20)\d\d)-(\d\d)-(\d\d)\b")
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH}),? ({_YEAR})\b", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"\b({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?,? ({_YEAR})\b", re.IGNORECASE)
_MONTH_YEAR = re.compile(rf"\b({_MONTH}),? ({_YEAR})\b", re.IGNORECASE)
_MONTH_ALONE = re.compile(rf"\b(?:in|during|last|this|since) ({_MONTH})\b", re.IGNORECASE)
_YEAR_ALONE = re.compile(rf"\b(?:in|during|of) ({_YEAR})\b", re.IGNORECASE)
_DAY = re.compile(r"\b(today|yesterday)\b", re.IGNORECASE)
_PERIOD = re.compile(r"\b(last|this) (week|month|year)\b", re.IGNORECASE)
_AGO = re.compile(rf"\b(\d{{1,3}}|{'|'.join(_NUMBERS)}) (day|week|month|year)s? ago\b", re.IGNORECASE)

_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_DECEMBER = 12


@attrs.frozen
class Period:
    """A stretch of time: `start` is inside, `end` is not."""

    start: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        """Tell whether a moment lies inside."""
        return self.start <= moment < self.end


def period_in(query: str, now: datetime) -> Period | None:
    """Return the time that a query names, relative to `now` where it is relative, or None; in UTC, in English."""
    for read in (_exact_day, _month, _year, _relative):
        try:
            found = read(query, now.astimezone(UTC).date())
        except (ValueError, OverflowError):
            found = None
        if found is not None:
            first, behind = found
            return Period(_midnight(first), _midnight(behind))
    return None


def _exact_day(query: str, _: date) -> tuple[date, date] | None:
    if found := _ISO.search(query):
        day = date(int(found[1]), int(found[2]), int(found[3]))
    elif found := _DAY_MONTH.search(query):
        day = date(int(found[3]), _number_of(found[2]), int(found[1]))
    elif found := _MONTH_DAY.search(query):
        day = date(int(found[3]), _number_of(found[1]), int(found[2]))
    else:
        return None
    return day, day + timedelta(days=1)


def _month(query: str, today: date) -> tuple[date, date] | None:
    if found := _MONTH_YEAR.search(query):
        return _whole_month(int(found[2]), _number_of(found[1]))
    if found := _MONTH_ALONE.search(query):
        month = _number_of(found[1])
        return _whole_month(today.year if month <= today.month else today.year - 1, month)
    return None


def _year(query: str, _: date) -> tuple[date, date] | None:
    found = _YEAR_ALONE.search(query)
    return (date(int(found[1]), 1, 1), date(int(found[1]) + 1, 1, 1)) if found else None


def _relative(query: str, today: date) -> tuple[date, date] | None:
    if found := _DAY.search(query):
        day = today if found[1].lower() == "today" else today - timedelta(days=1)
        return day, day + timedelta(days=1)
    if found := _PERIOD.search(query):
        return _named_period(found[1].lower(), found[2].lower(), today)
    if found := _AGO.search(query):
        unit = _DAYS[found[2].lower()]
        number = int(found[1]) if found[1].isdigit() else _NUMBERS[found[1].lower()]
        middle, slack = today - timedelta(days=number * unit), timedelta(days=unit // 2)
        return middle - slack, middle + slack + timedelta(days=1)
    return None


def _named_period(which: str, unit: str, today: date) -> tuple[date, date]:
    if unit == "week":
        monday = today - timedelta(days=today.weekday() + (7 if which == "last" else 0))
        return monday, monday + timedelta(days=7)
    if unit == "year":
        year = today.year - (which == "last")
        return date(year, 1, 1), date(year + 1, 1, 1)
    if which == "this":
        return _whole_month(today.year, today.month)
    before = today.replace(day=1) - timedelta(days=1)
    return _whole_month(before.year, before.month)


def _whole_month(year: int, month: int) -> tuple[date, date]:
    behind = date(year + 1, 1, 1) if month == _DECEMBER else date(year, month + 1, 1)
    return date(year, month, 1), behind


def _number_of(month: str) -> int:
    return _MONTHS.index(month.lower()) + 1


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
