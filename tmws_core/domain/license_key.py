"""Licence keys: how they are written, and what is wrong with one that is not."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time

import attrs

from tmws_core.domain.license import SOLD, License, Tier, instant, license_of
from tmws_core.errors import LicenseInvalid

KEY_SETTING = "TMWS_LICENSE_KEY"
PUBLIC_KEY_SETTING = "TMWS_LICENSE_PUBLIC_KEY"

_PREFIX = "TMWS"
_PERPETUAL = "PERPETUAL"
_YEARS = range(2000, 3000)
_REST = re.compile(
    r"((?P<term>[^-]*)-)?([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(-(?P<checksum>.*))?", re.DOTALL
)
"""What stands behind the tier."""

_CHECKSUM_DIGITS = 8
_SIGNATURE_BYTES = 64
_FORM = "TMWS-{TIER}[-{PERPETUAL or YYYYMMDD}]-{UUID}-{CHECKSUM}[.{SIGNATURE}]"


@attrs.frozen(kw_only=True)
class LicenseKey:
    """A key that is well-formed; `text` is what its signature signs, and neither is ever shown."""

    tier: Tier
    expires: datetime | None
    text: str = attrs.field(repr=False)
    signature: bytes | None = attrs.field(default=None, repr=False)

    def at(self, now: datetime) -> License:
        """Return the licence as it is at a moment."""
        return license_of(self.tier, self.expires, now)


def written_key(tier: Tier, expires: datetime | None, key_id: str) -> str:
    """Return a key without its signature; `expires` is some time of the last day, None for never.

    Raises:
        LicenseInvalid: the tier has no such term.
    """
    _check_term(tier, perpetual=expires is None)
    term = [] if tier is Tier.FREE else [_PERPETUAL if expires is None else f"{expires:%Y%m%d}"]
    body = "-".join([_PREFIX, tier.value, *term, key_id])
    return f"{body}-{_checksum(body)}"


def signed_key(text: str, signature: bytes) -> str:
    """Return a key with its signature."""
    return f"{text}.{_in_base64(signature)}"


def parsed_key(text: str) -> LicenseKey:
    """Return what a key says; whether its signature holds is for `check_signature` to tell.

    Raises:
        LicenseInvalid: the key is malformed; the message says how, without repeating any of it.
    """
    body, dot, signature = text.strip().partition(".")
    prefix, *parts = body.split("-")
    if prefix != _PREFIX:
        raise _refused("the licence key does not start with TMWS-", f"Its form is {_FORM}")
    tier = _tier(parts.pop(0) if parts else "")
    found = _REST.fullmatch("-".join(parts))
    if found is None:
        raise _refused("the licence key has no UUID in its place", f"Its form is {_FORM}")
    expires = _expiry(tier, found["term"])
    checksum = found["checksum"]
    if checksum is None:
        raise _refused("the licence key has no checksum", "Copy all of it, to the last character")
    if checksum != _checksum(body.removesuffix(f"-{checksum}")):
        raise _refused("the checksum of the licence key does not match", "Copy the key again: a character is wrong")
    return LicenseKey(tier=tier, expires=expires, text=body, signature=_signature(signature) if dot else None)


def check_signature(key: LicenseKey, verify: Callable[[bytes, bytes], bool] | None) -> None:
    """Check that a key was issued by whoever holds the private key; `verify` is None where no public key is known.

    A FREE key proves nothing and needs no signature.

    Raises:
        LicenseInvalid: it was not, or nobody can tell.
    """
    if key.tier is Tier.FREE and key.signature is None:
        return
    if key.signature is None:
        raise _refused(
            f"the licence key has no signature, and {key.tier.value} needs one", "Copy all of it, to the last character"
        )
    if verify is None:
        raise LicenseInvalid(
            setting=PUBLIC_KEY_SETTING,
            reason="is not set, and the licence key cannot be verified without it",
            hint="Set it to the public key of whoever issued the licence",
        )
    if not verify(key.text.encode(), key.signature):
        raise _refused(
            "the signature of the licence key does not hold",
            f"Copy the key again, and see that {PUBLIC_KEY_SETTING} is of whoever issued it",
        )


def end_of(term: str) -> datetime:
    """Return the end of a day that is written YYYYMMDD; LicenseInvalid if it is none."""
    day = None
    if re.fullmatch(r"[0-9]{8}", term) and int(term[:4]) in _YEARS:
        with suppress(ValueError):
            day = date(int(term[:4]), int(term[4:6]), int(term[6:]))
    if day is None:
        raise _refused("the term of the licence key is neither PERPETUAL nor a day", "A day is YYYYMMDD")
    return datetime.combine(day, time.max, UTC)


def expired(license_: License) -> LicenseInvalid:
    """Return the error for a licence whose grace has ended."""
    reason = "the licence has expired"
    if license_.expires is not None and license_.grace_until is not None:
        reason = f"the licence expired on {instant(license_.expires)}, and its grace on {instant(license_.grace_until)}"
    return _refused(reason, "Renew it")


def _refused(reason: str, hint: str) -> LicenseInvalid:
    return LicenseInvalid(setting=KEY_SETTING, reason=reason, hint=hint)


def _tier(word: str) -> Tier:
    for tier in SOLD:
        if tier.value == word:
            return tier
    tiers = ", ".join(tier.value for tier in SOLD)
    raise _refused("the licence key names an unknown tier", f"There are {tiers}")


def _expiry(tier: Tier, term: str | None) -> datetime | None:
    """Return the end of the last day, or None for never."""
    if term is None and tier is not Tier.FREE:
        raise _refused(f"the licence key has no term, and {tier.value} needs one", f"Its form is {_FORM}")
    if term is not None and tier is Tier.FREE:
        raise _refused("the licence key has a term, and FREE has none", f"Its form is {_FORM}")
    _check_term(tier, perpetual=term in (None, _PERPETUAL))
    return None if term in (None, _PERPETUAL) else end_of(term)


def _check_term(tier: Tier, *, perpetual: bool) -> None:
    if tier is Tier.STANDARD and perpetual:
        raise _refused("STANDARD is not sold without an end", "Name its last day as YYYYMMDD")
    if tier is Tier.FREE and not perpetual:
        raise _refused("FREE has no term", "Leave it out")


def _signature(text: str) -> bytes:
    try:
        signature = base64.b64decode(f"{text}==", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        signature = b""
    # Written again it must be the same: the last character has bits that decoding passes over.
    if len(signature) != _SIGNATURE_BYTES or _in_base64(signature) != text:
        raise _refused("the signature of the licence key is malformed", "Copy all of it, to the last character")
    return signature


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:_CHECKSUM_DIGITS].upper()


def _in_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
