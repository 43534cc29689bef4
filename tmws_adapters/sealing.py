"""What the secret of an instance is asked for: signing for callers, and sealing what they bring back."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import anyio.to_thread

from tmws_adapters.secret import Secrets, derived, secret_of
from tmws_adapters.settings import Settings
from tmws_core.errors import ConfigurationError
from tmws_core.ports.system import Clock

PURPOSE = "cursor"
"""What the keys of cursors are derived from the secret for."""


def secrets_of(settings: Settings) -> Secrets:
    """Return the secret key, and the one before it; ConfigurationError as `secret_of` says."""
    until = settings.secret_key_previous_until
    return Secrets(
        current=secret_of(settings.secret_key, settings.home, required=settings.environment == "production"),
        previous=settings.secret_key_previous,
        previous_until=datetime.fromisoformat(until) if until else None,
    )


def cursor_keys(settings: Settings, clock: Clock) -> Callable[[], Awaitable[Sequence[bytes]]]:
    """Return what tells the keys that cursors are sealed with, the current one first.

    The secret is read, or made, when there is the first cursor. Where none can be had, a key of this process stands for
    it: its cursors are then good for as long as it runs.
    """
    found: list[Secrets] = []

    def read() -> Secrets:
        try:
            return secrets_of(settings)
        except ConfigurationError:
            return Secrets(current=secrets.token_hex())

    async def keys() -> Sequence[bytes]:
        if not found:
            # Of two that ask at once the first decides, so that a key of this process is the same for every call.
            found.append(await anyio.to_thread.run_sync(read))
        return [derived(secret, PURPOSE) for secret in found[0].good_at(clock.now())]

    return keys
