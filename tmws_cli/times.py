"""Times as people type and read them: by the zone and the clock of this machine."""

import re
import time
from datetime import datetime, timedelta

from tmws_core.domain.iso import moment_in

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
"""Seconds of each unit; a year has 365 days."""

EXAMPLES = "30d, 2h ago, tomorrow, 14:30, tomorrow 14:30, 2026-12-31, 2026-12-31 18:00 or 2026-01-31T12:00:00Z"
"""Times that are understood, for whoever has typed none."""

_CLOCK = re.compile(r"(?:(?P<day>yesterday|today|tomorrow)(?: at)? )?(?P<time>\d{1,2}:\d\d)")

_SINCE_1970 = re.compile(r"\d{10}|\d{13}")
"""Seconds, or milliseconds, since 1970, which operations take."""

_UNIT = "[smhdwy]|(?:second|minute|hour|day|week|year)s?"
_SPAN = re.compile(rf"(?P<sign>[+-]|in )? ?(?P<number>\d{{1,6}}) ?(?P<unit>{_UNIT})(?P<ago> ago)?")

_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}

_AHEAD = frozenset({"expires_at"})
"""The fields in which `30d` is to come; in all others it is past."""


def written_time(field: str, text: str) -> str:
    """Return a time as RFC 3339, by the zone of this machine; see EXAMPLES.

    A day is its beginning, and `14:30` is today, or tomorrow where what lies ahead is meant. What is none of these is
    left as it is.
    """
    said = " ".join(text.lower().split())
    now = datetime.fromtimestamp(time.time()).astimezone()  # noqa: TID251 - the user's clock and zone are meant
    if said == "now":
        return now.isoformat(timespec="seconds")
    if said in _DAYS:
        return _local(datetime(now.year, now.month, now.day) + timedelta(days=_DAYS[said]))  # noqa: DTZ001 - as above
    if clock := _CLOCK.fullmatch(said):
        return _by_the_clock(field, clock, now) or text
    span = _SPAN.fullmatch(said)
    if span is None:
        return _dated(text)
    backwards = bool(span["ago"]) or span["sign"] == "-" or (not span["sign"] and field not in _AHEAD)
    try:
        moved = timedelta(seconds=int(span["number"]) * _UNITS[span["unit"][0]])
        return (now - moved if backwards else now + moved).isoformat(timespec="seconds")
    except OverflowError:
        return text


def is_time(text: str) -> bool:
    """Tell whether an operation takes a time that is written so."""
    try:
        moment_in(text.upper())
    except ValueError:
        return bool(_SINCE_1970.fullmatch(text.strip()))
    return True


def shown_time(text: str, *, seconds: bool = True) -> str:
    """Return a time of the wire as it is in this zone, such as `2026-12-31 18:00 CET`; another text as it is."""
    try:
        moment = datetime.fromisoformat(text)
        local = moment.astimezone()
    except (ValueError, OverflowError):
        return text
    return local.strftime("%Y-%m-%d %H:%M:%S %Z" if seconds else "%Y-%m-%d %H:%M %Z")


def _by_the_clock(field: str, said: "re.Match[str]", now: datetime) -> str | None:
    """Return a time of today, or of the day that is said; None where no clock shows it."""
    hour, minute = map(int, said["time"].split(":"))
    try:
        moment = datetime(now.year, now.month, now.day, hour, minute)  # noqa: DTZ001 - the zone of this machine
    except ValueError:
        return None
    days = _DAYS[said["day"]] if said["day"] else int(field in _AHEAD and moment.astimezone() <= now)
    return _local(moment + timedelta(days=days))


def _dated(text: str) -> str:
    try:
        moment = moment_in(text.strip().upper())
    except ValueError:
        return text
    return text if moment.tzinfo else _local(moment)


def _local(moment: datetime) -> str:
    try:
        return moment.astimezone().isoformat(timespec="seconds")
    except OverflowError:
        return moment.isoformat()
