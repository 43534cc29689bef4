"""Licences: what a key says, until when, and how a wrong one is refused."""

import base64
import hashlib
import string
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.licences import KEY_ID, PUBLIC_KEY, SIGNER, issued, unsigned
from tmws_core.domain.license import ALLOWANCES, FREE, License, Tier
from tmws_core.domain.license_key import check_signature, expired, parsed_key, signed_key, written_key
from tmws_core.errors import LicenseInvalid

LAST_DAY = date(2025, 12, 15)
END = datetime(2025, 12, 15, 23, 59, 59, 999999, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)

FREE_KEY = unsigned(Tier.FREE)
STANDARD_KEY = issued(Tier.STANDARD, LAST_DAY)
ENTERPRISE_KEY = issued(Tier.ENTERPRISE)
KEYS = {
    "free": FREE_KEY,
    "standard": STANDARD_KEY,
    "enterprise": ENTERPRISE_KEY,
    "dated enterprise": issued(Tier.ENTERPRISE, LAST_DAY),
}


def verify(message: bytes, signature: bytes) -> bool:
    return SIGNER.verify(message, signature, SIGNER.public_key)


def license_at(key: str, now: datetime) -> License:
    parsed = parsed_key(key)
    check_signature(parsed, verify)
    return parsed.at(now)


def summed(body: str) -> str:
    """Return a body with the checksum that it should have."""
    return f"{body}-{hashlib.sha256(body.encode()).hexdigest()[:8].upper()}"


def test_a_key_has_the_form_that_was_agreed() -> None:
    text, _, signature = STANDARD_KEY.partition(".")
    body, _, checksum = text.rpartition("-")
    assert body == f"TMWS-STANDARD-20251215-{KEY_ID}"
    assert checksum == hashlib.sha256(body.encode()).hexdigest()[:8].upper()
    assert verify(text.encode(), base64.urlsafe_b64decode(signature + "=="))
    assert ENTERPRISE_KEY.startswith(f"TMWS-ENTERPRISE-PERPETUAL-{KEY_ID}-")
    assert FREE_KEY.startswith(f"TMWS-FREE-{KEY_ID}-")


def test_the_tiers_allow_what_is_sold() -> None:
    now = datetime(2025, 6, 1, tzinfo=UTC)
    free, standard, enterprise = (license_at(key, now) for key in (FREE_KEY, STANDARD_KEY, ENTERPRISE_KEY))
    assert (free.status, free.seats, free.features) == ("free", 1, ("core",))
    assert (standard.status, standard.seats, standard.features) == ("valid", 10, ("core", "email_support"))
    assert (enterprise.status, enterprise.seats) == ("valid", None)
    assert enterprise.features == ("unlimited_agents", "priority_support", "custom_integrations")
    assert (enterprise.expires, enterprise.grace_until, enterprise.days_left, enterprise.warning) == (None,) * 3 + ("",)


@pytest.mark.parametrize("tier", [Tier.STANDARD, Tier.ENTERPRISE])
def test_a_dated_licence_holds_to_the_end_of_its_day_and_then_for_a_week(tier: Tier) -> None:
    key = issued(tier, LAST_DAY)
    sold, free = ALLOWANCES[tier], ALLOWANCES[Tier.FREE]
    for now, status, allowed in (
        (END, "valid", sold),
        (END + INSTANT, "grace", sold),
        (END + timedelta(days=7), "grace", sold),
        (END + timedelta(days=7) + INSTANT, "expired", free),
    ):
        found = license_at(key, now)
        assert (found.tier, found.status, found.seats, found.features) == (
            tier,
            status,
            allowed.seats,
            allowed.features,
        )
        assert found.expires == END


@pytest.mark.parametrize(
    ("day", "left", "warning"),
    [
        (date(2025, 11, 14), 31, ""),
        (date(2025, 11, 15), 30, "expires in 30 days"),
        (date(2025, 12, 15), 0, "expires today"),
        (date(2025, 12, 16), -1, "expired on 2025-12-15T23:59:59Z; FREE limits begin after 2025-12-22T23:59:59Z"),
        (date(2025, 12, 23), -8, "expired on 2025-12-15T23:59:59Z, and FREE limits hold"),
    ],
)
def test_the_end_of_a_licence_is_announced_30_days_before(day: date, left: int, warning: str) -> None:
    found = license_at(STANDARD_KEY, datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    assert found.days_left == left
    assert found.warning.startswith(warning)
    assert bool(found.warning) == bool(warning)


def test_the_error_for_an_expired_licence_says_when_it_expired() -> None:
    found = license_at(STANDARD_KEY, END + timedelta(days=8))
    assert "expired on 2025-12-15T23:59:59Z" in expired(found).message
    assert found.title == "expired STANDARD"


def test_a_licence_is_read_the_same_with_a_line_break_behind_it() -> None:
    assert parsed_key(f" {STANDARD_KEY}\n") == parsed_key(STANDARD_KEY)


MALFORMED_SIGNATURE = "signature of the licence key is malformed"
FORGED = "signature of the licence key does not hold"
MISTYPED = "checksum of the licence key does not match"

MALFORMED = {
    "empty": ("", "does not start with TMWS-"),
    "another product": (f"ACME-FREE-{KEY_ID}-00000000", "does not start with TMWS-"),
    "lower case": (FREE_KEY.lower(), "does not start with TMWS-"),
    "prefix only": ("TMWS", "unknown tier"),
    "unknown tier": (summed(f"TMWS-GOLD-PERPETUAL-{KEY_ID}"), "unknown tier"),
    "tier in lower case": (summed(f"TMWS-free-{KEY_ID}"), "unknown tier"),
    "no term": (summed(f"TMWS-STANDARD-{KEY_ID}"), "has no term, and STANDARD needs one"),
    "no term before a UUID of digits": (
        summed("TMWS-ENTERPRISE-12345678-1234-1234-1234-123456789012"),
        "has no term, and ENTERPRISE needs one",
    ),
    "term of a FREE key": (summed(f"TMWS-FREE-20251215-{KEY_ID}"), "FREE has none"),
    "perpetual FREE": (summed(f"TMWS-FREE-PERPETUAL-{KEY_ID}"), "FREE has none"),
    "perpetual STANDARD": (summed(f"TMWS-STANDARD-PERPETUAL-{KEY_ID}"), "not sold without an end"),
    "no date": (summed(f"TMWS-STANDARD-SOON-{KEY_ID}"), "neither PERPETUAL nor a day"),
    "a 30th of February": (summed(f"TMWS-STANDARD-20260230-{KEY_ID}"), "neither PERPETUAL nor a day"),
    "year 0": (summed(f"TMWS-STANDARD-00000101-{KEY_ID}"), "neither PERPETUAL nor a day"),
    "year 9999": (summed(f"TMWS-STANDARD-99991231-{KEY_ID}"), "neither PERPETUAL nor a day"),
    "foreign digits": (summed(f"TMWS-STANDARD-٢٠٢٥١٢١٥-{KEY_ID}"), "neither PERPETUAL nor a day"),
    "no UUID": (summed("TMWS-FREE-1234"), "no UUID in its place"),
    "UUID cut short": (summed(f"TMWS-FREE-{KEY_ID[:-1]}"), "no UUID in its place"),
    "tier only": ("TMWS-FREE", "no UUID in its place"),
    "two terms": (summed(f"TMWS-STANDARD-20251215-20251215-{KEY_ID}"), "no UUID in its place"),
    "no checksum": (f"TMWS-FREE-{KEY_ID}", "has no checksum"),
    "wrong checksum": (f"TMWS-FREE-{KEY_ID}-00000000", MISTYPED),
    "checksum in lower case": (f"{FREE_KEY[:-8]}{FREE_KEY[-8:].lower()}", MISTYPED),
    "more behind the checksum": (f"{FREE_KEY}-00", MISTYPED),
    "surrogate in the checksum": (f"{FREE_KEY[:-1]}\udcff", MISTYPED),
    "empty signature": (f"{FREE_KEY}.", MALFORMED_SIGNATURE),
    "signature cut short": (ENTERPRISE_KEY[:-1], MALFORMED_SIGNATURE),
    "signature padded": (f"{ENTERPRISE_KEY}==", MALFORMED_SIGNATURE),
    "signature of other letters": (
        f"{unsigned(Tier.ENTERPRISE)}.{'é' * 86}",
        MALFORMED_SIGNATURE,
    ),
    "unsigned STANDARD": (unsigned(Tier.STANDARD, LAST_DAY), "has no signature, and STANDARD needs one"),
    "unsigned ENTERPRISE": (unsigned(Tier.ENTERPRISE), "has no signature, and ENTERPRISE needs one"),
    "signature of nobody": (
        signed_key(unsigned(Tier.ENTERPRISE), bytes(64)),
        FORGED,
    ),
    "signature of another licence": (
        f"{unsigned(Tier.ENTERPRISE)}.{STANDARD_KEY.partition('.')[2]}",
        FORGED,
    ),
    "a FREE key that somebody else signed": (
        signed_key(FREE_KEY, bytes(64)),
        FORGED,
    ),
}


@pytest.mark.parametrize(("key", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_a_wrong_key_is_refused_with_what_is_wrong_and_is_not_repeated(key: str, reason: str) -> None:
    with pytest.raises(LicenseInvalid) as caught:
        license_at(key, END)
    assert reason in caught.value.message
    assert caught.value.field == "TMWS_LICENSE_KEY"
    assert caught.value.remedy
    for part in (KEY_ID, KEY_ID[:8], "GOLD", "SOON", key.partition(".")[2]):
        assert not part or part not in caught.value.message


def test_a_typing_error_is_told_from_a_forgery() -> None:
    with pytest.raises(LicenseInvalid, match=r"checksum .* a character is wrong"):
        parsed_key(STANDARD_KEY.replace(KEY_ID[-3:], "000"))


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@given(data=st.data())
def test_a_key_with_any_one_character_changed_is_refused(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(key) - 1))
    others = st.one_of(st.sampled_from(string.ascii_letters + string.digits + "-_.+/="), st.characters())
    other = data.draw(others.filter(lambda character: character != key[place]))
    with pytest.raises(LicenseInvalid):
        license_at(f"{key[:place]}{other}{key[place + 1 :]}", END)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_no_other_letter_or_digit_at_any_place_makes_a_key(key: str) -> None:
    for place, character in enumerate(key):
        for other in set(string.ascii_letters + string.digits + "-_.=") - {character}:
            with pytest.raises(LicenseInvalid):
                license_at(f"{key[:place]}{other}{key[place + 1 :]}", END)


@given(st.text())
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    with pytest.raises(LicenseInvalid):
        license_at(text, END)


def test_a_paid_key_needs_a_public_key_and_a_free_one_does_not() -> None:
    with pytest.raises(LicenseInvalid) as caught:
        check_signature(parsed_key(ENTERPRISE_KEY), None)
    assert caught.value.field == "TMWS_LICENSE_PUBLIC_KEY"
    assert PUBLIC_KEY not in caught.value.message
    check_signature(parsed_key(FREE_KEY), None)
    assert parsed_key(FREE_KEY).at(END) == FREE


@pytest.mark.parametrize(("tier", "expires"), [(Tier.STANDARD, None), (Tier.FREE, END)])
def test_a_licence_that_is_not_sold_is_not_written(tier: Tier, expires: datetime | None) -> None:
    with pytest.raises(LicenseInvalid):
        written_key(tier, expires, KEY_ID)


def test_neither_a_key_nor_its_signature_is_shown() -> None:
    shown = repr(parsed_key(STANDARD_KEY))
    assert KEY_ID not in shown
    assert "signature" not in shown
