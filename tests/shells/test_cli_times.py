"""Times as they are typed, by the clock of the machine."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from tmws_cli.times import written_time


@pytest.mark.parametrize(
    ("field", "written", "read"),
    [
        ("expires_at", "14:30", "2026-03-01T14:30:00+00:00"),
        ("expires_at", "09:15", "2026-03-02T09:15:00+00:00"),
        ("created_after", "09:15", "2026-03-01T09:15:00+00:00"),
        ("expires_at", "tomorrow at 9:15", "2026-03-02T09:15:00+00:00"),
        ("created_after", "yesterday 09:15", "2026-02-28T09:15:00+00:00"),
        ("created_after", "3 days", "2026-02-26T12:00:00+00:00"),
        ("created_after", "2 hours ago", "2026-03-01T10:00:00+00:00"),
        ("expires_at", "in 1 week", "2026-03-08T12:00:00+00:00"),
        ("expires_at", "24:00", "24:00"),
        ("expires_at", "2026-03-31 24:00", "2026-04-01T00:00:00+00:00"),
    ],
)
def test_times_are_read_by_the_clock_of_the_machine(field: str, written: str, read: str) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        patch.setattr("tmws_cli.times.time", SimpleNamespace(time=lambda: noon))
        assert written_time(field, written) == read
    time.tzset()
