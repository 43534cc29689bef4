"""Times that a query names: "in May 2023", "last week", "on 2024-03-05", "three days ago"."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta

import attrs

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_NUMBERS = {
    word: number
    for numbers, words in (
        (range(1, 10), "one two three four five six seven eight nine"),
        (range(10, 20), "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"),
        (range(20, 100, 10), "twenty thirty forty fifty sixty seventy eighty ninety"),
    )
    for number, word in zip(numbers, words.split(), strict=True)
}

_MONTH = "|".join(MONTHS)
_YEAR = r"(?:19|20)\d\d"
_ISO = re.compile(rf"(?<![\w-])({_YEAR})-(\d\d)-(\d\d)(?!\d|-\d)")
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH}),? ({_YEAR})\b", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"\b({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?,? ({_YEAR})\b", re.IGNORECASE)
_MONTH_YEAR = re.compile(rf"\b({_MONTH}),? ({_YEAR})\b(?!-\d)", re.IGNORECASE)
_MONTH_ALONE = re.compile(rf"\b(in|during|last|this|since) ({_MONTH})\b", re.IGNORECASE)
_YEAR_ALONE = re.compile(rf"\b(?:in|during|of) ({_YEAR})\b(?!-\d)", re.IGNORECASE)
_DAY = re.compile(r"\b(today|yesterday)\b", re.IGNORECASE)
_PERIOD = re.compile(r"\b(last|this) (week|month|year)\b", re.IGNORECASE)
_WORD = rf"(?:a couple of|an?|hundred|{'|'.join(_NUMBERS)})"
_AGO = re.compile(
    rf"(?<![\w.,-])(\d{{1,4}}|(?:{_WORD}[ -](?:and )?){{0,5}}{_WORD}) (day|week|month|year)s? ago\b", re.IGNORECASE
)

_ODD = {"a": 1, "an": 1, "couple": 1}
"""What counts besides numbers: "a couple of" is two."""

_SLACK = {"day": 0, "week": 3, "month": 15, "year": 182}
"""Days that a time so long ago may be off by, before and behind."""

READ = 8192
"""Characters of a query that are read for times: 20 ms for the worst of them, and no question is as long."""

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
            found = read(query[:READ], now.astimezone(UTC).date())
        except (ValueError, OverflowError):
            found = None
        if found is not None:
            first, behind = found
            return Period(_midnight(first), _midnight(behind))
    return None


def _exact_day(query: str, _: date) -> tuple[date, date] | None:
    """Return the first day that there is: nobody means another one by the 29th of February 2023."""
    for pattern, order in ((_ISO, (1, 2, 3)), (_DAY_MONTH, (3, 2, 1)), (_MONTH_DAY, (3, 1, 2))):
        for found in pattern.finditer(query):
            year, month, day = (found[place] for place in order)
            with suppress(ValueError):
                first = date(int(year), _number_of(month), int(day))
                return first, first + timedelta(days=1)
    return None


def _month(query: str, today: date) -> tuple[date, date] | None:
    if found := _MONTH_YEAR.search(query):
        return _whole_month(int(found[2]), _number_of(found[1]))
    if found := _MONTH_ALONE.search(query):
        month = _number_of(found[2])
        gone = month < today.month if found[1].lower() == "last" else month <= today.month
        return _whole_month(today.year if gone else today.year - 1, month)
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
        return _ago(_value(found[1].lower()), found[2].lower(), today)
    return None


def _ago(number: int, unit: str, today: date) -> tuple[date, date]:
    """Return the day, or as much around it as its unit leaves open."""
    if unit in ("day", "week"):
        middle = today - timedelta(days=number * (7 if unit == "week" else 1))
    else:
        middle = months_before(today, number * (12 if unit == "year" else 1))
    slack = timedelta(days=_SLACK[unit])
    return middle - slack, middle + slack + timedelta(days=1)


def months_before(day: date, months: int) -> date:
    """Return the same day of an earlier month, or its last one where that is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    first, behind = _whole_month(year, month + 1)
    return min(first + timedelta(days=day.day - 1), behind - timedelta(days=1))


def _value(words: str) -> int:
    if words.isdigit():
        return int(words)
    total = 0
    for word in re.split("[ -]", words):
        total = max(total, 1) * 100 if word == "hundred" else total + _NUMBERS.get(word, _ODD.get(word, 0))
    return total


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
    return int(month) if month.isdigit() else MONTHS.index(month.title()) + 1


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
