"""Times as the schema stores them; the first revision of the schema says which column holds which form."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (time - _EPOCH) // _MICROSECOND


def optional_microseconds(time: datetime | None) -> int | None:
    """Return microseconds since 1970, or None for no time."""
    return None if time is None else microseconds(time)


def moment(value: int) -> datetime:
    """Return the time of a number of microseconds since 1970, in UTC."""
    return _EPOCH + value * _MICROSECOND


def optional_moment(value: int | None) -> datetime | None:
    """Return the time of a number of microseconds since 1970, or None for none."""
    return None if value is None else moment(value)
