"""Times in ISO 8601, of which RFC 3339 is a part."""

import re
from datetime import UTC, datetime, timedelta

_MIDNIGHT = re.compile(r"(?<=[T ])24:?00(?::?00(?:[.,]0+)?)?(?=$|[Z+-])")
_LEAP = re.compile(r"(?<=\d)(:?)60(?=(?:[.,]\d+)?(?:$|[Z+-]))")


def moment_in(text: str) -> datetime:
    """Return the time that a text in capital letters is, with its zone if it names one.

    24:00 is the beginning of the next day, and a leap second the one behind it: no clock here counts it.

    Raises:
        ValueError: it is none.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        try:
            return _late(text)
        except OverflowError:
            raise ValueError(text) from None


def _late(text: str) -> datetime:
    plain, is_midnight = _MIDNIGHT.subn("00:00:00", text)
    if is_midnight:
        return datetime.fromisoformat(plain) + timedelta(days=1)
    moment = datetime.fromisoformat(_LEAP.sub(r"\g<1>59", text)) + timedelta(seconds=1)
    at = moment.astimezone(UTC) if moment.tzinfo else moment
    if (at.hour, at.minute, at.second) != (0, 0, 0):
        raise ValueError(text)  # leap seconds end a day of UTC
    return moment
