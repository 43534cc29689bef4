"""Times, as text that people read with a shell, or as a store has them."""

from datetime import UTC, datetime


def rfc3339(time: datetime) -> str:
    """Return a time as text that sorts as the times do."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def from_rfc3339(text: str) -> datetime:
    """Return the time of such a text, in UTC."""
    return datetime.fromisoformat(text)


def native(time: datetime) -> datetime:
    """Return a time as it is: for a store that has times of its own."""
    return time
