"""The secret of an instance: tokens are signed with it, and the keys of its signatures are derived from it."""

import hmac
import os
import secrets
from datetime import datetime
from pathlib import Path

import attrs

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

    Only the user who made the file can read it. Raises ConfigurationError where a configured one is required, and where
    the file cannot be read or made.
    """
    if configured:
        return configured
    if required:
        raise ConfigurationError(
            setting=SETTING, reason="secret key not set", hint="Make one with: openssl rand -hex 32"
        )
    path = home / _FILE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"not set, and {path.name} in TMWS_HOME cannot be read or made ({type(error).__name__})"
        raise ConfigurationError(
            setting=SETTING, reason=reason, hint="Set it, or mend the rights of TMWS_HOME"
        ) from None


def derived(secret: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose: knowing them tells nothing of the secret, nor of another purpose's.

    HKDF with SHA-256 and no salt (RFC 5869), of which one block is all that is needed.
    """
    extracted = hmac.digest(bytes(_BYTES), secret.encode(), "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")


def _make(path: Path) -> None:
    """Write a new secret unless there is one; of two processes that begin at once, one wins and both read the same."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_BYTES))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
