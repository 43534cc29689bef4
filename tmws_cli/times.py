"""Times as people type and read them: by the zone and the clock of this machine."""

import re
import time
from datetime import datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
"""Seconds of each unit; a year has 365 days."""

_SPAN = re.compile(r"(?P<sign>[+-]|in )? ?(?P<number>\d{1,6}) ?(?P<unit>[smhdwy])(?P<ago> ago)?")

_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}

_AHEAD = frozenset({"expires_at"})
"""The fields in which `30d` is to come; in all others it is past."""


def written_time(field: str, text: str) -> str:
    """Return a time as RFC 3339: `30d`, `2h ago`, `in 2h`, `tomorrow`, `2026-12-31` and `2026-12-31 18:00` are local.

    A day is its beginning. What is none of these is left as it is, for the operation to judge.
    """
    said = " ".join(text.lower().split())
    now = datetime.fromtimestamp(time.time()).astimezone()  # noqa: TID251 - the user's clock and zone are meant
    if said == "now":
        return now.isoformat(timespec="seconds")
    if said in _DAYS:
        return _local(datetime(now.year, now.month, now.day) + timedelta(days=_DAYS[said]))  # noqa: DTZ001 - as above
    span = _SPAN.fullmatch(said)
    if span is None:
        return _dated(text)
    backwards = bool(span["ago"]) or span["sign"] == "-" or (not span["sign"] and field not in _AHEAD)
    try:
        moved = timedelta(seconds=int(span["number"]) * _UNITS[span["unit"]])
        return (now - moved if backwards else now + moved).isoformat(timespec="seconds")
    except OverflowError:
        return text


def shown_time(text: str, *, seconds: bool = True) -> str:
    """Return a time of the wire as it is in this zone, such as `2026-12-31 18:00 CET`; another text as it is."""
    try:
        moment = datetime.fromisoformat(text)
        local = moment.astimezone()
    except (ValueError, OverflowError):
        return text
    return local.strftime("%Y-%m-%d %H:%M:%S %Z" if seconds else "%Y-%m-%d %H:%M %Z")


def _dated(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return text
    return text if moment.tzinfo else _local(moment)


def _local(moment: datetime) -> str:
    try:
        return moment.astimezone().isoformat(timespec="seconds")
    except OverflowError:
        return moment.isoformat()
