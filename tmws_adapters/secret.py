"""The secret of an instance: tokens are signed with it, and the keys of its signatures are derived from it."""

import hmac
import os
import secrets
from datetime import datetime
from pathlib import Path

import attrs

from tmws_adapters.private import PRIVATE_FILE, Unfit, check_directory, make_directory, read_own
from tmws_core.errors import ConfigurationError

SETTING = "TMWS_SECRET_KEY"

_FILE = "secret_key"
_BYTES = 32


@attrs.frozen(kw_only=True)
class Secrets:
    """The secret key, and the one before it, which is good until a time, or for as long as it is given."""

    current: str = attrs.field(repr=False)
    previous: str = attrs.field(default="", repr=False)
    previous_until: datetime | None = None

    def good_at(self, now: datetime) -> list[str]:
        """Return the keys that may have signed what is believed, the current one first."""
        former = self.previous and (self.previous_until is None or now < self.previous_until)
        return [self.current, self.previous] if former else [self.current]


def secret_of(configured: str, home: Path, *, required: bool) -> str:
    """Return the configured secret, or the one in the data directory, which is made when there is none.

    Only the user who made the file can read it. Raises ConfigurationError where a configured one is required, where
    the file cannot be read or made, and where somebody else can have written it.
    """
    if configured:
        return configured
    if required:
        raise ConfigurationError(
            setting=SETTING, reason="secret key not set", hint="Make one with: openssl rand -hex 32"
        )
    path = home / _FILE
    try:
        make_directory(str(home))
        check_directory(str(home))
        _make(path)
        return _read(path)
    except Unfit as error:
        raise _refusal(f"{error.filename} {error.reason}", error.remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = f"not set, and {path.name} in TMWS_HOME cannot be read or made ({type(error).__name__})"
        raise _refusal(reason, "Mend the rights of TMWS_HOME") from None


def problem_of(configured: str, home: Path) -> ConfigurationError | None:
    """Return what is wrong with the secret in the data directory, if it is needed and there is one; none is made."""
    if configured or not os.path.lexists(home / _FILE):
        return None
    try:
        secret_of("", home, required=False)
    except ConfigurationError as error:
        return error
    return None


def derived(secret: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose: knowing them tells nothing of the secret, nor of another purpose's.

    HKDF with SHA-256 and no salt (RFC 5869), of which one block is all that is needed.
    """
    extracted = hmac.digest(bytes(_BYTES), secret.encode(), "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")


def _read(path: Path) -> str:
    """Return the secret in a file, which becomes private to this user."""
    secret = read_own(str(path), secret=True).decode("ascii").strip()
    if len(secret) < _BYTES:
        raise Unfit(str(path), f"has fewer than {_BYTES} characters", "Delete it: a new one is made")
    return secret


def _refusal(reason: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(setting=SETTING, reason=reason, hint=f"{remedy}, or set {SETTING}")


def _make(path: Path) -> None:
    """Write a new secret unless there is one; of two processes that begin at once, one wins and both read the same."""
    if os.path.lexists(path):
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_BYTES))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
