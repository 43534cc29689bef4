"""The licence that the settings name, and what the log says of it."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from tmws_adapters.settings import Settings
from tmws_core.domain.license import DEVELOPMENT, FREE, License, Tier, instant
from tmws_core.domain.license_key import (
    PUBLIC_KEY_SETTING,
    LicenseKey,
    check_signature,
    parsed_key,
    signed_key,
    written_key,
)
from tmws_core.errors import ConfigurationError, LicenseInvalid
from tmws_core.ports.license import LicenseClock
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock
from tmws_core.services.licensing import Licensing

if TYPE_CHECKING:
    from tmws_adapters.signing import KeyPair

logger = logging.getLogger("tmws")


def licensing_of(settings: Settings, storage: Storage, seen: LicenseClock, clock: Clock) -> Licensing:
    """Return the licence of the settings; a key that does not hold is not raised, but kept for who asks."""
    key, problem = None, None
    if settings.license_key:
        try:
            key = verified_key(settings.license_key, settings.license_public_key)
        except LicenseInvalid as error:
            problem = error
    return Licensing(
        key=key, problem=problem, keyless=keyless_license(settings), storage=storage, seen=seen, clock=clock
    )


def keyless_license(settings: Settings) -> License:
    """Return what holds where the settings have no key."""
    return DEVELOPMENT if settings.environment == "development" else FREE


def verified_key(text: str, public_key: str) -> LicenseKey:
    """Return what a key says, if it was issued by whoever holds the private key.

    Raises:
        LicenseInvalid: it was not, it is malformed, or the public key is.
    """
    key = parsed_key(text)
    check_signature(key, _verify(public_key) if public_key and key.signature is not None else None)
    return key


def key_pair() -> "KeyPair":
    """Return a key pair that licences can be issued with."""
    from tmws_adapters.signing import new_key_pair  # noqa: PLC0415 - see _verify

    return new_key_pair()


def issued_key(tier: Tier, expires: datetime | None, private_key: bytes | None) -> str:
    """Return a new licence key; `expires` is some time of its last day, None for never, `private_key` is PEM.

    Raises:
        LicenseInvalid: there is no such licence.
        ConfigurationError: the private key is none.
    """
    from tmws_adapters.system import SystemClock, SystemIds  # noqa: PLC0415

    text = written_key(tier, expires, SystemIds(SystemClock()).new())
    if private_key is None:
        return text
    from tmws_adapters.signing import signer_of  # noqa: PLC0415

    try:
        return signed_key(text, signer_of(private_key).sign(text.encode()))
    except ValueError as error:
        hint = "Give one that `tmws license keygen` has made"
        raise ConfigurationError(setting="--private-key", reason=str(error), hint=hint) from None


def license_now(key: LicenseKey) -> License:
    """Return the licence of a key as it is at this moment."""
    from tmws_adapters.system import SystemClock  # noqa: PLC0415

    return key.at(SystemClock().now())


def announce(license_: License, problem: LicenseInvalid | None = None) -> None:
    """Tell the log which licence is in force, in the lines that `grep -A 3 License` shows."""
    if problem is not None:
        # Commands show errors only, and who has bought a licence is to hear that it does not count.
        logger.error("❌ License validation failed, and FREE limits hold: %s", problem.message)
        return
    logger.log(_level(license_), "%s", _headline(license_))
    for line in lines_of(license_):
        logger.info("   %s", line)


def lines_of(license_: License) -> Iterator[str]:
    """Yield the tier, until when it holds, and what it allows."""
    yield f"Tier: {license_.tier.value}"
    if license_.expires is None:
        yield "Expires: PERPETUAL (never expires)"
    else:
        yield f"Expires: {instant(license_.expires)}"
    yield f"Features: {','.join(license_.features)}"


def _headline(license_: License) -> str:
    if license_.warning:
        return f"⚠️ License validated, but it {license_.warning}"
    if license_.tier is Tier.FREE:
        return "✅ License: the FREE tier is in force"
    if license_.tier is Tier.DEVELOPMENT:
        return "✅ License: none is needed in development"
    return "✅ License validated successfully"


def _level(license_: License) -> int:
    return logging.WARNING if license_.warning else logging.INFO


def _verify(public_key: str) -> Callable[[bytes, bytes], bool]:
    # It takes 30 ms to import, which nobody without a paid licence needs to wait for.
    from tmws_adapters.signing import verifier_of  # noqa: PLC0415

    try:
        return verifier_of(public_key).verify
    except ValueError as error:
        raise LicenseInvalid(
            setting=PUBLIC_KEY_SETTING, reason=str(error), hint="Give the public key of whoever issued the licence"
        ) from None
