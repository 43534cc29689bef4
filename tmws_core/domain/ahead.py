"""Times that are said by how long it is until then: `in 3 days`, `30d`, `a week`; and days that have a name."""

import re
from datetime import UTC, datetime, timedelta

from tmws_core.domain.dates import months_before

_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
}
"""By their names; `m` is none of them, since it is a month to some and a minute to others."""

_MONTHS = {**dict.fromkeys(("month", "months"), 1), **dict.fromkeys(("y", "year", "years"), 12)}

_SPAN = re.compile(r"(?:in |\+ ?)?(?P<number>\d{1,9}|an?|one) ?(?P<unit>[a-z]{1,7})")

_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}


def named_day(text: str, now: datetime) -> datetime | None:
    """Return the first moment of yesterday, today or tomorrow in UTC, or None."""
    days = _DAYS.get(text.strip().lower())
    if days is None:
        return None
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days)


def moment_ahead(text: str, now: datetime) -> datetime | None:
    """Return the moment that lies so far ahead, or None where a text says no such span, or one beyond the year 9999."""
    said = _SPAN.fullmatch(" ".join(text.lower().split()))
    if said is None:
        return None
    number = int(said["number"]) if said["number"].isdigit() else 1
    try:
        if said["unit"] in _MONTHS:
            day = months_before(now.date(), -number * _MONTHS[said["unit"]])
            return now.replace(year=day.year, month=day.month, day=day.day)
        seconds = _SECONDS.get(said["unit"])
        return None if seconds is None else now + timedelta(seconds=number * seconds)
    except (OverflowError, ValueError):
        return None
