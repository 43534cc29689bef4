"""The audit log of the store that the settings name, and the keys that its checkpoints are signed with."""

from collections.abc import Sequence

import anyio.to_thread

from tmws_adapters.settings import Settings
from tmws_core.ports.signing import Signer
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock
from tmws_core.services.auditing import Auditing

PURPOSE = "audit checkpoint"
"""What the keys are derived from the secret for; another word would make all former checkpoints unverifiable."""


def auditing_of(settings: Settings, storage: Storage, clock: Clock) -> Auditing:
    """Return the audit log, which signs with TMWS_SECRET_KEY and knows what TMWS_SECRET_KEY_PREVIOUS has signed.

    The secret is asked for when there is something to sign or to check; ConfigurationError then if it is missing.
    """

    async def signers() -> Sequence[Signer]:
        return await anyio.to_thread.run_sync(_signers, settings)

    return Auditing(storage=storage, clock=clock, signers=signers, audited=settings.audit_log_enabled)


def _signers(settings: Settings) -> Sequence[Signer]:
    # They import cryptography, which takes 0.2 s.
    from tmws_adapters.secret import derived, secret_of  # noqa: PLC0415
    from tmws_adapters.signing import Ed25519Signer  # noqa: PLC0415

    secret = secret_of(settings.secret_key, settings.home, required=settings.environment == "production")
    former = [settings.secret_key_previous] if settings.secret_key_previous else []
    return [Ed25519Signer.of(derived(each, PURPOSE)) for each in (secret, *former)]
