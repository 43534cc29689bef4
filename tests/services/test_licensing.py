"""The licence of a running service: by which time it counts, what a server may start with, and what it tells."""

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import anyio
import attrs
import pytest

from tests.licences import PUBLIC_KEY, issued, unsigned
from tests.stacks import refuse_rows, rows
from tmws_adapters.bootstrap import Parts, compose, open_app, open_parts
from tmws_adapters.licensing import announce, licensing_of, verified_key
from tmws_adapters.settings import Settings
from tmws_core.domain.license import DEVELOPMENT, FREE, License, Tier
from tmws_core.errors import LicenseInvalid
from tmws_core.messages.memory import CreateMemory
from tmws_core.messages.system import HealthCheck
from tmws_core.services import licensing
from tmws_core.services.licensing import Licensing

pytestmark = pytest.mark.anyio

LAST_DAY = date(2026, 6, 30)
NOON = datetime(2026, 6, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MALFORMED = unsigned(Tier.ENTERPRISE)
"""A paid key without its signature."""


@attrs.define
class SetClock:
    """A clock that somebody sets."""

    time: datetime = NOON

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    # Nothing works in the background here, so a Redis would stay unknown.
    async with open_parts(attrs.evolve(settings, redis_url="")) as opened:
        yield opened


def licensing_by(parts: Parts, clock: SetClock, key: str = issued(Tier.STANDARD, LAST_DAY)) -> Licensing:
    """Return a process's view of a licence; one that is started later is another."""
    verified = verified_key(key, PUBLIC_KEY)
    return Licensing(key=verified, storage=parts.storage, seen=parts.license.seen, clock=clock)


def events(settings: Settings) -> list[tuple[object, ...]]:
    sql = "SELECT event_type, agent_id, details FROM security_audit_logs WHERE event_type LIKE 'license.%' ORDER BY id"
    found = [(kind, agent_id, json.loads(details)) for kind, agent_id, details in rows(settings, sql)]
    return [(kind, agent_id, details.get("tier"), details.get("status")) for kind, agent_id, details in found]


@pytest.mark.parametrize(
    ("environment", "license_"), [("development", DEVELOPMENT), ("staging", FREE), ("production", FREE)]
)
async def test_without_a_key_any_number_of_agents_may_write_in_development_and_one_elsewhere(
    settings: Settings, parts: Parts, environment: Literal["development", "staging", "production"], license_: License
) -> None:
    keyless = attrs.evolve(settings, license_key="", environment=environment)
    found = await licensing_of(keyless, parts.storage, parts.license.seen, parts.clock).current()
    assert found == license_
    assert found.seats == (None if environment == "development" else 1)


async def test_setting_the_clock_back_does_not_bring_a_licence_back(parts: Parts, clock: SetClock) -> None:
    source = licensing_by(parts, clock)
    assert (await source.current()).status == "valid"
    clock.time = NOON + 8 * DAY
    assert (await source.current()).status == "expired"
    clock.time = NOON
    assert (await source.current()).status == "expired"


async def test_a_process_that_is_started_with_the_clock_set_back_knows_how_late_it_was(
    parts: Parts, clock: SetClock
) -> None:
    clock.time = NOON + 8 * DAY
    await licensing_by(parts, clock).begin(required=False, strict=False, recorded_as=None)
    clock.time = NOON - 300 * DAY
    restarted = licensing_by(parts, clock)
    assert (await restarted.current()).status == "expired"
    await restarted.note()
    assert await parts.license.seen.last_seen() == NOON + 8 * DAY


async def test_what_two_processes_have_seen_counts_for_both(parts: Parts, clock: SetClock) -> None:
    ahead, behind = licensing_by(parts, SetClock(NOON + DAY)), licensing_by(parts, clock)
    assert (await behind.current()).status == "valid"
    await ahead.note()
    await behind.note()
    assert (await behind.current()).status == "grace"


async def test_a_running_service_notes_the_time_and_tells_when_the_licence_ends(
    parts: Parts, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licensing, "INTERVAL", timedelta(milliseconds=1))
    source, told = licensing_by(parts, clock), list[License]()
    ended = anyio.Event()

    def changed(license_: License) -> None:
        told.append(license_)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.run, changed)
        with anyio.fail_after(60):
            while await parts.license.seen.last_seen() != NOON:
                await anyio.lowlevel.checkpoint()
            clock.time = NOON + DAY
            await ended.wait()
        tasks.cancel_scope.cancel()
    assert [license_.status for license_ in told] == ["grace"]


async def test_a_licence_that_never_ends_needs_no_time(parts: Parts, clock: SetClock) -> None:
    await licensing_by(parts, clock, issued(Tier.ENTERPRISE)).note()
    assert await parts.license.seen.last_seen() is None


@pytest.mark.parametrize(("days", "status"), [(0, "valid"), (1, "grace"), (8, "expired")])
async def test_a_server_starts_with_any_licence_that_was_issued_and_records_it(
    settings: Settings, parts: Parts, clock: SetClock, days: int, status: str
) -> None:
    clock.time = NOON + days * DAY
    license_ = await licensing_by(parts, clock).begin(required=True, strict=False, recorded_as="ada")
    assert (license_.tier, license_.status) == (Tier.STANDARD, status)
    assert license_.seats == (1 if status == "expired" else 10)
    assert events(settings) == [("license.validated", "ada", "STANDARD", status)]


async def test_a_strict_server_does_not_start_once_the_grace_has_ended(
    settings: Settings, parts: Parts, clock: SetClock
) -> None:
    clock.time = NOON + 7 * DAY
    await licensing_by(parts, clock).begin(required=False, strict=True, recorded_as="ada")
    clock.time = NOON + 8 * DAY
    with pytest.raises(LicenseInvalid, match="expired on 2026-06-30T23:59:59Z"):
        await licensing_by(parts, clock).begin(required=False, strict=True, recorded_as="ada")
    assert [event[0] for event in events(settings)] == ["license.validated", "license.refused"]


async def test_a_server_in_production_does_not_start_without_a_key(settings: Settings) -> None:
    free = attrs.evolve(settings, license_key="", environment="production")
    with pytest.raises(LicenseInvalid, match="needs a licence") as refusal:
        async with open_app(free, serving=True):
            pass
    assert refusal.value.field == "TMWS_LICENSE_KEY"
    assert [event[0] for event in events(settings)] == ["license.refused"]
    with_key = attrs.evolve(free, license_key=unsigned(Tier.FREE))
    async with open_app(with_key, serving=True) as app:
        assert (await app.call(settings.operator(), HealthCheck())).license == "free"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"license_key": MALFORMED}, "has no signature"),
        ({"license_key": "hello"}, "does not start with TMWS-"),
        ({"license_public_key": ""}, "TMWS_LICENSE_PUBLIC_KEY: is not set"),
        ({"license_public_key": "hello"}, "TMWS_LICENSE_PUBLIC_KEY: it is neither PEM nor 32 bytes"),
        ({"license_public_key": "A" * 43 + "="}, "signature of the licence key does not hold"),
    ],
)
async def test_a_key_that_does_not_hold_stops_a_server_and_nothing_else(
    settings: Settings, changes: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = attrs.evolve(settings, **changes)  # type: ignore[arg-type]  # each is a text
    with pytest.raises(LicenseInvalid, match=reason):
        async with open_app(wrong, serving=True):
            pass
    assert [event[0] for event in events(settings)] == ["license.refused"]
    caplog.clear()
    async with open_app(wrong) as app:
        await app.call(wrong.operator(), CreateMemory(content="The rose blooms."))
        assert (await app.call(wrong.operator(), HealthCheck())).license == "free"
    [line] = [record.message for record in caplog.records if "License" in record.message]
    assert line.startswith("❌ License validation failed")
    assert wrong.license_key not in caplog.text


async def test_a_server_starts_although_its_store_cannot_keep_a_record(
    settings: Settings, parts: Parts, clock: SetClock
) -> None:
    for table in ("license_clock", "security_audit_logs"):
        refuse_rows(settings, table)
    license_ = await licensing_by(parts, clock).begin(required=True, strict=True, recorded_as="ada")
    assert license_.status == "valid"
    assert await parts.license.seen.last_seen() is None


async def test_without_an_audit_log_the_start_of_a_server_is_not_recorded(settings: Settings) -> None:
    async with open_app(attrs.evolve(settings, audit_log_enabled=False), serving=True):
        pass
    assert events(settings) == []


async def test_the_health_says_when_a_licence_has_ended(settings: Settings, parts: Parts, clock: SetClock) -> None:
    app = compose(settings, attrs.evolve(parts, license=licensing_by(parts, clock)))
    report = await app.call(settings.operator(), HealthCheck())
    assert (report.status, report.license) == ("healthy", "valid")
    assert "license" not in report.components
    for days, status in ((1, "grace"), (8, "expired")):
        clock.time = NOON + days * DAY
        report = await app.call(settings.operator(), HealthCheck())
        assert (report.status, report.license) == ("degraded", status)
        assert "expired on 2026-06-30T23:59:59Z" in (report.components["license"].reason or "")


async def test_the_log_shows_a_licence_in_the_lines_that_were_agreed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tmws")
    announce(verified_key(issued(Tier.ENTERPRISE), PUBLIC_KEY).at(NOON))
    assert caplog.messages == [
        "✅ License validated successfully",
        "   Tier: ENTERPRISE",
        "   Expires: PERPETUAL (never expires)",
        "   Features: unlimited_agents,priority_support,custom_integrations",
    ]


@pytest.mark.parametrize(
    ("days", "level", "headline"),
    [
        (-31, logging.INFO, "✅ License validated successfully"),
        (-30, logging.WARNING, "⚠️ License validated, but it expires in 30 days"),
        (1, logging.WARNING, "⚠️ License validated, but it expired on 2026-06-30T23:59:59Z; FREE limits begin after"),
        (8, logging.WARNING, "⚠️ License validated, but it expired on 2026-06-30T23:59:59Z, and FREE limits hold"),
    ],
)
async def test_the_log_warns_of_a_licence_that_ends(
    caplog: pytest.LogCaptureFixture, days: int, level: int, headline: str
) -> None:
    caplog.set_level(logging.INFO, "tmws")
    announce(verified_key(issued(Tier.STANDARD, LAST_DAY), PUBLIC_KEY).at(NOON + days * DAY))
    assert caplog.records[0].levelno == level
    assert caplog.messages[0].startswith(headline)
    assert caplog.messages[1:3] == ["   Tier: STANDARD", "   Expires: 2026-06-30T23:59:59Z"]
